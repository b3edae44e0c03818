//! `tenure policy push|pull|save|load|keygen|sign|verify` against the CNCF's `distribution`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tenure_lab::Registry;

/// A folder of files, as an author has it.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let component = wat::parse_str(
            r#"(component (instance $i) (export "tenure:policy/lifecycle@0.1.0" (instance $i))
                (export "tenure:policy/reclaim@0.1.0" (instance $i)))"#,
        );
        fs::write(folder.path().join("grace.wasm"), component.unwrap()).unwrap();
        Self { folder }
    }

    fn run_with(&self, command: &str, input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tenure"))
            .arg("policy")
            .args(command.split(' '))
            .current_dir(self.folder.path())
            // Nobody's own credentials.
            .env("DOCKER_CONFIG", self.folder.path().join("docker"))
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Who reads no input may be gone.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// What a command that succeeds prints.
    fn ok(&self, command: &str) -> String {
        let output = self.run_with(command, "");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, command: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{command} -o json"))).unwrap()
    }

    /// Exit code and message of one that fails.
    fn fails(&self, command: &str) -> (i32, String) {
        let output = self.run_with(command, "");
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), error)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.folder.path().join(name).exists()
    }
}

#[test]
fn a_signed_module_goes_to_a_registry_and_to_an_air_gapped_site() {
    let desk = Desk::new();
    let (here, there) = (Registry::start(), Registry::start());
    let id = desk.json("keygen release")["id"].as_str().unwrap().to_owned();
    let mode = |name: &str| {
        fs::metadata(desk.folder.path().join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("release.key"), 0o600);
    desk.ok("keygen other");
    let at = format!("{}/policies/grace:1.0", here.address());

    desk.ok("sign grace.wasm --key release.key");
    let pushed = desk.json(&format!("push grace.wasm {at} --author olga"));
    let (digest, manifest) = (pushed["digest"].clone(), pushed["manifest"].clone());
    assert_eq!(pushed["signed"], true);
    assert_eq!(desk.json(&format!("push grace.wasm {at} --author olga"))["manifest"], manifest);

    let pinned = format!("{at}@{}", manifest.as_str().unwrap());
    assert_eq!(desk.json(&format!("pull {pinned} -f pulled.wasm"))["digest"], digest);
    assert_eq!(desk.read("pulled.wasm"), desk.read("grace.wasm"));
    assert_eq!(desk.read("pulled.wasm.sig"), desk.read("grace.wasm.sig"));
    assert!(String::from_utf8(desk.read("pulled.wasm.sig")).unwrap().contains(&id));
    let signed_by = &desk.json(&format!("verify {at} --key release.pub"))["signedBy"];
    assert_eq!(signed_by[0], "release.pub");

    desk.ok(&format!("save {at} -f grace.tar"));
    drop(here);
    let site = format!("{}/site/grace:1.0", there.address());
    assert_eq!(desk.json(&format!("load grace.tar --to {site}"))["manifest"], manifest);
    desk.ok(&format!("verify {site} --key release.pub"));
    desk.ok("load grace.tar -f loaded.wasm");
    desk.ok("verify loaded.wasm --key release.pub");
    desk.ok("verify grace.tar --key release.pub");

    desk.ok(&format!("sign {site} --key other.key"));
    desk.ok(&format!("verify {site} --key release.pub --key other.pub"));
    let (code, said) = desk.fails("verify grace.tar --key release.pub --key other.pub");
    assert!(code == 4 && said.contains("missing: other.pub (sha256:"), "{code} {said}");
    desk.ok("verify grace.tar --key release.pub --key other.pub --minimum 1");
}

#[test]
fn a_wrong_key_and_a_module_that_was_changed_are_refused_with_code_4() {
    let desk = Desk::new();
    let server = Registry::start();
    desk.ok("keygen release");
    desk.ok("keygen other");
    desk.ok("sign grace.wasm --key release.key");
    let (code, said) = desk.fails("verify grace.wasm --key other.pub");
    assert!(code == 4 && said.contains("none of its signatures verifies"), "{code} {said}");
    let at = format!("{}/grace:1.0", server.address());
    let digest = desk.json(&format!("push grace.wasm {at}"))["digest"].clone();
    let blob = server.blob(digest.as_str().unwrap());
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, &bytes).unwrap();
    let (code, said) = desk.fails(&format!("pull {at} -f out.wasm"));
    assert!(code == 4 && said.contains("nothing of it is used"), "{code} {said}");
    assert!(!desk.has("out.wasm"));
    fs::write(desk.folder.path().join("grace.wasm"), &bytes).unwrap();
    let (code, said) = desk.fails("verify grace.wasm --key release.pub");
    assert!(code == 4 && said.contains("those of another module"), "{code} {said}");
}

#[test]
fn the_rules_of_a_daemon_can_be_asked() {
    let desk = Desk::new();
    desk.ok("keygen release");
    let key = desk.folder.path().join("release.pub");
    let config = format!(
        "stateDir = '/x'\n[policy.trust]\nallOf = ['release']\nkeys = {{release = '{}'}}\n",
        key.display()
    );
    fs::write(desk.folder.path().join("tenured.toml"), config).unwrap();
    let (code, said) = desk.fails("verify grace.wasm --trust tenured.toml");
    assert!(code == 4 && said.contains("no signature; missing: release (sha256:"), "{said}");
    desk.ok("sign grace.wasm --key release.key");
    let said = desk.ok("verify grace.wasm --trust tenured.toml");
    assert!(said.trim_end().ends_with("is signed by release"), "{said}");
    fs::write(desk.folder.path().join("tenured.toml"), "").unwrap();
    let (code, said) = desk.fails("verify grace.wasm --trust tenured.toml");
    assert!(code == 1 && said.contains("admits every module"), "{said}");
}

#[test]
fn a_password_comes_from_standard_input_or_dockers_file() {
    let desk = Desk::new();
    let server = Registry::with_password();
    let (user, password) = Registry::user();
    let at = format!("{}/grace:1.0", server.address());
    let (code, said) = desk.fails(&format!("push grace.wasm {at}"));
    assert!(code == 4 && said.contains("docker login"), "{code} {said}");
    let command = format!("push grace.wasm {at} --username {user} --password-stdin");
    assert!(!desk.run_with(&command, "wrong\n").status.success());
    let output = desk.run_with(&command, &format!("{password}\n"));
    assert!(output.status.success(), "{output:?}");
    fs::create_dir(desk.folder.path().join("docker")).unwrap();
    let config = format!(
        r#"{{"auths": {{"{}": {{"username": "{user}", "password": "{password}"}}}}}}"#,
        server.address()
    );
    fs::write(desk.folder.path().join("docker/config.json"), config).unwrap();
    desk.ok(&format!("pull {at} -f out.wasm"));
    assert_eq!(desk.read("out.wasm"), desk.read("grace.wasm"));
}

#[test]
fn mistakes_are_told_before_anything_is_sent_or_written() {
    let desk = Desk::new();
    for (command, code, part) in [
        ("push grace.wasm grace:1.0", 2, "it must be HOST[:PORT]/REPOSITORY"),
        ("push nothing.wasm r.example/grace:1.0", 1, "nothing.wasm"),
        ("pull https://r.example/grace:1.0", 2, "without a scheme"),
        ("verify nothing --key a.pub", 2, "there is no such file"),
        ("verify grace.wasm", 2, "--key"),
        ("load grace.wasm", 2, "--filename"),
        ("pull r.example/grace:1.0 --username olga", 2, "--password-stdin"),
        ("sign grace.wasm --key grace.wasm", 1, "grace.wasm"),
    ] {
        let (found, said) = desk.fails(command);
        assert!(found == code && said.contains(part), "{command}: {found} {said}");
    }
    desk.ok("keygen release");
    let (code, said) = desk.fails("keygen release");
    assert!(code == 1 && said.contains("take another name"), "{said}");
    let (code, said) = desk.fails("sign grace.wasm --key release.pub");
    assert!(code == 1 && said.contains("is no ed25519 private key"), "{said}");
    let (code, said) = desk.fails("pull 127.0.0.1:1/grace:1.0");
    assert!(code == 1 && said.contains("127.0.0.1:1/grace:1.0"), "{said}");
}
