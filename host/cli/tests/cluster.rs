//! The way into a cluster against a real kube-apiserver with the manifests of `deploy`: which pod is spoken to, and what
//! somebody hears who has not the rights. There is no kubelet here, so that each way ends at the door of a pod: what comes
//! behind it is tried by `cargo xtask e2e cli`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tenure_lab::cluster::{NAMESPACE, create, install};
use tenure_lab::{ApiServer, Options};

struct Lab {
    server: ApiServer,
    client: Client,
    folder: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        let server = ApiServer::start(Options { unsafe_no_fsync: true }).await;
        let client = server.client();
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        install(&client, &deploy).await;
        // The controller that makes it does not run here.
        create(
            &client,
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAMESPACE}}),
        )
        .await;
        Self { server, client, folder: tempfile::tempdir().unwrap() }
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// A pod of the Deployment, on a node that there is not.
    async fn allocator(&self, name: &str, ready: &str) {
        let labels = json!({"app.kubernetes.io/name": "tenure-allocator"});
        let pod = json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"nodeName": format!("node-of-{name}"), "automountServiceAccountToken": false,
                     "containers": [{"name": "allocator", "image": "tenure"}]},
        });
        let pod = serde_json::from_value(pod).unwrap();
        self.pods().create(&PostParams::default(), &pod).await.unwrap();
        let conditions = json!([{"type": "Ready", "status": ready}]);
        let status = json!({"status": {"phase": "Running", "conditions": conditions}});
        let params = PatchParams::default();
        self.pods().patch_status(name, &params, &Patch::Merge(status)).await.unwrap();
    }

    async fn no_allocators(&self) {
        let now = DeleteParams::default().grace_period(0);
        self.pods().delete_collection(&now, &ListParams::default()).await.unwrap();
    }

    async fn leader(&self, pod: &str) {
        let leases = Api::<Lease>::namespaced(self.client.clone(), NAMESPACE);
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "tenure-allocator"},
            "spec": {"holderIdentity": format!("{pod}-0a1b2c3d")},
        });
        let params = PatchParams::apply("test").force();
        leases.patch("tenure-allocator", &params, &Patch::Apply(lease)).await.unwrap();
    }

    /// A Role of this name with these rules, bound to a user; without rules it is one of the manifests.
    async fn bind(&self, user: &str, role: &str, rules: Option<Value>) {
        let version = "rbac.authorization.k8s.io/v1";
        let metadata = |name: &str| json!({"name": name, "namespace": NAMESPACE});
        if let Some(rules) = rules {
            create(
                &self.client,
                json!({"apiVersion": version, "kind": "Role", "metadata": metadata(role), "rules": rules}),
            )
            .await;
        }
        create(
            &self.client,
            json!({
                "apiVersion": version, "kind": "RoleBinding", "metadata": metadata(user),
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
            }),
        )
        .await;
    }

    fn kubeconfig(&self, user: &str) -> PathBuf {
        let mut config = self.server.kubeconfig("nobody");
        config["users"][0]["user"]["as"] = json!(user);
        config["users"][0]["user"]["as-groups"] = json!(["system:authenticated"]);
        let path = self.folder.path().join(format!("{user}.yaml"));
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// What `tenure` says to a user, and its exit code.
    async fn said(&self, user: &str, line: &str) -> (i32, String) {
        let config = self.kubeconfig(user);
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let run = move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
            command.env_clear().arg("--kubeconfig").arg(config).args(words).output().unwrap()
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), told)
    }
}

/// One server for all of them: it takes longer to start than they do.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_into_a_cluster() {
    let lab = Lab::new().await;
    lab.bind("olga", "tenure-operator", None).await;
    nobody_runs(&lab).await;
    the_leader_is_preferred(&lab).await;
    rights_that_are_missing_are_named(&lab).await;
}

async fn nobody_runs(lab: &Lab) {
    let (code, told) = lab.said("olga", "get pools").await;
    assert_eq!(code, 5, "{told}");
    assert!(told.contains("no allocator is in namespace tenure-system"), "{told}");
    assert!(told.contains("`kubectl get ippools,ipleases` still shows the objects"), "{told}");
    let (code, told) = lab.said("olga", "get pools --tenure-namespace elsewhere").await;
    assert!(code == 5 && told.contains("list pods in namespace elsewhere"), "{told}");
    lab.allocator("tenure-allocator-a", "False").await;
    let (code, told) = lab.said("olga", "get pools").await;
    assert_eq!(code, 5, "{told}");
    let pod = "tenure-allocator-a on node-of-tenure-allocator-a runs and is not ready";
    assert!(told.contains(&format!("no allocator is ready in namespace tenure-system: {pod}")));
    lab.no_allocators().await;
}

/// Each pod that is tried is named, in the order in which they were.
async fn the_leader_is_preferred(lab: &Lab) {
    for (name, ready) in [("a", "True"), ("b", "True"), ("c", "False"), ("d", "True")] {
        lab.allocator(&format!("tenure-allocator-{name}"), ready).await;
    }
    for (leader, order) in [("d", "dab"), ("b", "bad"), ("c", "abd"), ("gone", "abd")] {
        lab.leader(&format!("tenure-allocator-{leader}")).await;
        let (code, told) = lab.said("olga", "get pools").await;
        assert_eq!(code, 5, "{told}");
        let tried: String = told
            .split("pod tenure-allocator-")
            .skip(1)
            .map(|rest| rest.split(' ').next().unwrap())
            .collect();
        assert_eq!(tried, order, "{leader} leads: {told}");
        assert!(told.contains("no allocator can be spoken to"), "{told}");
    }
}

async fn rights_that_are_missing_are_named(lab: &Lab) {
    let all = ["list pods", "create and get pods/exec"];
    let pods = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]);
    lab.bind("paul", "only-pods", Some(pods)).await;
    for (user, right) in [("nina", all[0]), ("paul", all[1])] {
        let (code, told) = lab.said(user, "status").await;
        assert_eq!(code, 5, "{told}");
        assert!(told.contains(&format!("right to {right} in namespace tenure-system")), "{told}");
        assert!(told.contains("--role=tenure-operator"), "{told}");
    }
    // Who leads is a preference: without the right to know it, any of them serves.
    let rules = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]},
    ]);
    lab.bind("emil", "no-leader", Some(rules)).await;
    let (code, told) = lab.said("emil", "status").await;
    assert!(code == 5 && told.contains("no allocator can be spoken to"), "{told}");
}
