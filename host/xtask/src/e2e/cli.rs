//! `tenure` by kubeconfig, as somebody who has the Role `tenure-operator` and nothing else: every command through a real exec,
//! and a node that is off whose addresses nobody gets before an operator says that it is dead.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::rebuilds::{STATEFUL, mixed};
use super::state::State;
use super::world::{POOL, World};
use crate::cluster::Cluster;
use crate::workspace;

const MINUTE: Duration = Duration::from_secs(60);
const NODE: &str = "n2";
const USER: &str = "olga";
/// A pool beside that of the pods.
const SPARE: &str = "apiVersion: tenure.dev/v1alpha1
kind: IPPool
metadata: {name: spare}
spec: {cidr: 10.202.0.0/24, disabled: true}
";

/// `tenure` of a user.
struct Operator {
    cluster: Cluster,
    kubeconfig: PathBuf,
    folder: PathBuf,
}

pub(super) fn cli(world: &mut World) -> anyhow::Result<()> {
    let settled = mixed(world, POOL - STATEFUL)?;
    let olga = Operator::new(world)?;
    rights(world, &olga)?;
    reads(world, &olga, &settled)?;
    writes(&olga)?;
    let spec = |how: &str| format!(r#"{{"spec": {{"unfencedReclaim": "{how}"}}}}"#);
    world.kubectl(&["patch", "ippool", "pods", "--type=merge", "-p", &spec("never")])?;
    let outcome = node_is_off(world, &olga);
    world.kubectl(&["patch", "ippool", "pods", "--type=merge", "-p", &spec("probe")])?;
    world.cluster.node(&["on", NODE])?;
    world.say(&format!("{NODE} is on again"));
    outcome?;
    world.settled(POOL, 240)?;
    world.until("the word about the node has ended", MINUTE, |_| {
        olga.node().is_ok_and(|node| *at(&node, "/state") == "up" && at(&node, "/fence").is_null())
    })?;
    Ok(())
}

/// Nothing without the Role, and all with it.
fn rights(world: &World, olga: &Operator) -> anyhow::Result<()> {
    let namespace = ["-n", "tenure-system"];
    let refused = olga.fails(5, &["status"]).or_else(|error| {
        // An earlier run of this scenario has bound it.
        let bound = [&namespace[..], &["get", "rolebinding", USER]].concat();
        world.kubectl(&bound).map(|()| String::new()).map_err(|_| error)
    })?;
    ensure!(refused.is_empty() || refused.contains("--role=tenure-operator"), "{refused}");
    let user = format!("--user={USER}");
    let bind = ["create", "rolebinding", USER, "--role=tenure-operator", &user];
    if !refused.is_empty() {
        world.kubectl(&[&namespace[..], &bind].concat())?;
    }
    let began = Instant::now();
    olga.says(&["status"])?;
    world.say(&format!("`tenure status` through the cluster took {:.2?}", began.elapsed()));
    Ok(())
}

fn reads(world: &World, olga: &Operator, state: &State) -> anyhow::Result<()> {
    let pool = olga.json(&["get", "pool", "pods", "-o", "json"])?;
    ensure!(*at(&pool, "/status/held") == POOL, "{pool:#}");
    let leases = olga.says(&["get", "leases", "--view", "held", "-o", "name"])?;
    ensure!(leases.lines().count() == POOL, "{leases}");
    let pod = state.of("web").next().context("there is no pod")?;
    let told = olga.says(&["explain", &pod.address])?;
    ensure!(told.contains(&pod.name), "{told}");
    let (code, _, told) = olga.run(&["history", &pod.address])?;
    ensure!(code == 0 && told.contains("which keeps none"), "history: {code} {told}");
    let lease = olga.says(&["describe", "lease", &pod.address])?;
    ensure!(lease.contains(&pod.uid), "{lease}");
    let version = olga.says(&["version"])?;
    ensure!(version.contains("daemon: 0."), "{version}");
    let kept = olga.folder.join("kept.jsonl");
    olga.says(&["export", "-f", &kept.display().to_string()])?;
    let kept = std::fs::read_to_string(&kept)?;
    ensure!(kept.lines().count() > POOL, "the export has {} lines", kept.lines().count());
    let nodes = olga.json(&["get", "nodes", "-o", "json"])?;
    let nodes = at(&nodes, "/items").as_array().cloned().unwrap_or_default();
    let held: u64 = nodes.iter().filter_map(|node| at(node, "/held").as_u64()).sum();
    let are_up =
        nodes.iter().all(|node| *at(node, "/state") == "up" && *at(node, "/connected") == true);
    ensure!(nodes.len() == 3 && are_up && held == POOL as u64, "{nodes:#?}");
    world.say("pools, leases, nodes, explanations and an export came through the cluster");
    let uid = text(&olga.node()?, "/uid");
    let refused =
        olga.fails(4, &["node", "confirm-dead", &uid, "--reason", "a mistake", "--yes"])?;
    ensure!(refused.contains("was heard"), "{refused}");
    Ok(())
}

fn writes(olga: &Operator) -> anyhow::Result<()> {
    let file = olga.folder.join("spare.yaml");
    std::fs::write(&file, SPARE)?;
    let file = file.display().to_string();
    for (arguments, told) in [
        (&["apply", "-f", &file, "--dry-run"][..], "ippool/spare"),
        (&["apply", "-f", &file], "ippool/spare created"),
        (&["apply", "-f", &file], "ippool/spare unchanged"),
        (&["delete", "pool", "spare", "--wait"], "ippool/spare deleted"),
        (&["reclaim", "--dry-run"], ""),
        (&["reclaim"], ""),
    ] {
        let said = olga.says(arguments)?;
        ensure!(said.contains(told), "{arguments:?}: {said}");
    }
    olga.fails(3, &["get", "pool", "spare"]).map(|_| ())
}

/// With `unfencedReclaim: never` being lost gives nothing to anybody.
fn node_is_off(world: &mut World, olga: &Operator) -> anyhow::Result<()> {
    let before = olga.node()?;
    let uid = text(&before, "/uid");
    world.cluster.node(&["off", NODE])?;
    world.say(&format!(
        "the power of {NODE} is cut; {} addresses are held there",
        at(&before, "/held")
    ));
    world.until("the pods of the dead node are to end", 3 * MINUTE, |state| {
        state.pods.iter().filter(|pod| pod.node == NODE).all(|pod| pod.is_ending)
    })?;
    world.until("`tenure get nodes` says that it is lost", 2 * MINUTE, |_| {
        olga.node().is_ok_and(|node| *at(&node, "/state") == "lost")
    })?;
    // A StatefulSet waits until somebody says that the old pod is gone.
    for pod in State::read(&world.cluster)?.pods {
        if pod.node == NODE && pod.name.starts_with("db-") {
            world.kubectl(&["delete", "pod", &pod.name, "--force", "--grace-period=0"])?;
        }
    }
    ensure!(at(&olga.node()?, "/held") == at(&before, "/held"), "nobody has said that it is dead");
    let name = olga.fails(2, &["node", "confirm-dead", NODE, "--reason", "power cut", "--yes"])?;
    ensure!(name.contains(&uid), "{name}");
    let told = olga.says(&["node", "confirm-dead", &uid, "--reason", "power cut", "--yes"])?;
    world.say(told.trim());
    let fenced = olga.node()?;
    let reason = text(&fenced, "/fence/reason");
    ensure!(reason.starts_with(&format!("power cut ({USER}, ")), "{fenced}");
    world.until("nothing is held there any more", 2 * MINUTE, |_| {
        olga.node().is_ok_and(|node| *at(&node, "/held") == 0)
    })?;
    world.until("all are replaced elsewhere", 4 * MINUTE, |state| {
        let mut living = state.pods.iter().filter(|pod| pod.node != NODE);
        living.clone().count() == POOL && living.all(|pod| pod.is_ready && state.owns(pod))
    })?;
    Ok(())
}

// === impl Operator ===

impl Operator {
    fn new(world: &World) -> anyhow::Result<Self> {
        let folder = workspace::target().join("cluster/operator");
        std::fs::create_dir_all(&folder)?;
        let config = world.cluster.ask(&["config", "view", "--raw", "-o", "json"])?;
        let mut config: Value = serde_json::from_str(&config).context("reading the kubeconfig")?;
        let user = config.pointer_mut("/users/0/user").context("the kubeconfig has no user")?;
        let user = user.as_object_mut().context("the user of the kubeconfig is no object")?;
        user.insert("as".to_owned(), USER.into());
        let kubeconfig = folder.join("kubeconfig");
        std::fs::write(&kubeconfig, config.to_string())?;
        Ok(Self { cluster: world.cluster.clone(), kubeconfig, folder })
    }

    /// Exit code, standard output and standard error.
    fn run(&self, arguments: &[&str]) -> anyhow::Result<(i32, String, String)> {
        let mut tenure = self.cluster.in_fabric(workspace::target().join("debug/tenure"));
        tenure.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        let output = tenure.output().context("running tenure")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().context("tenure was killed")?;
        Ok((code, text(&output.stdout), text(&output.stderr)))
    }

    fn says(&self, arguments: &[&str]) -> anyhow::Result<String> {
        match self.run(arguments)? {
            (0, said, _) => Ok(said),
            (code, _, told) => bail!("tenure {} ended with {code}: {told}", arguments.join(" ")),
        }
    }

    /// What it says when it ends with this code.
    fn fails(&self, wanted: i32, arguments: &[&str]) -> anyhow::Result<String> {
        let (code, said, told) = self.run(arguments)?;
        ensure!(code == wanted, "tenure {}: {code}\n{said}{told}", arguments.join(" "));
        Ok(told)
    }

    fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        serde_json::from_str(&self.says(arguments)?).context("reading what tenure prints")
    }

    /// The node of this scenario.
    fn node(&self) -> anyhow::Result<Value> {
        self.json(&["get", "node", NODE, "-o", "json"])
    }
}

fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(&Value::Null)
}

fn text(object: &Value, pointer: &str) -> String {
    at(object, pointer).as_str().unwrap_or_default().to_owned()
}
