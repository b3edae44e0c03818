//! The real program against a real API on a socket in a temporary folder, recorded as a transcript.
//!
//! Transcripts are golden files; renew them with `TENURE_BLESS=1 cargo test -p tenure-cli`.

#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

#[path = "../../../api/tests/support/mod.rs"]
pub mod api;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use tenure_api::{Handle, Options, Service};

use self::api::Site;

/// A folder with a socket, and what was said so far.
pub struct Stage {
    pub folder: TempDir,
    pub site: Site,
    server: Option<Handle>,
    transcript: String,
}

impl Stage {
    pub fn new(site: Site) -> Self {
        let api = self::api::api(&site);
        Self::over(site, api)
    }

    /// Of a cluster with some nodes.
    pub fn with_nodes(site: Site) -> Self {
        let api = self::api::cluster_api(&site);
        Self::over(site, api)
    }

    fn over(site: Site, api: tenure_api::Api) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(folder.path().join("admin.sock"));
        let server = Service::bind(options, api).unwrap().start();
        Self { folder, site, server: Some(server), transcript: String::new() }
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The daemon goes away.
    pub async fn stop(&mut self) {
        self.server.take().unwrap().shutdown().await;
    }

    /// Runs a command line and records it; answers its exit code.
    pub async fn run(&mut self, line: &str) -> i32 {
        let output = run_in(self.folder.path().to_owned(), line).await;
        let text = |bytes: &[u8]| masked(&String::from_utf8_lossy(bytes), self.folder.path());
        writeln!(self.transcript, "$ tenure {line}").unwrap();
        self.transcript.push_str(&text(&output.stdout));
        for line in text(&output.stderr).lines() {
            writeln!(self.transcript, "! {line}").unwrap();
        }
        let code = output.status.code().unwrap();
        writeln!(self.transcript, "[exit {code}]\n").unwrap();
        code
    }

    pub fn transcript(&self) -> &str {
        &self.transcript
    }

    /// Compares what was said with the golden file.
    pub fn is_golden(&self, name: &str) {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name);
        if std::env::var_os("TENURE_BLESS").is_some() {
            std::fs::write(&golden, &self.transcript).unwrap();
        }
        let kept = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(
            kept == self.transcript,
            "{name} is out of date (renew it with TENURE_BLESS=1):\n{}",
            self.transcript
        );
    }
}

/// Runs `tenure` with the socket of this folder; words in single quotes stay together, and
/// `< FILE` stands for its standard input.
pub async fn run_in(folder: PathBuf, line: &str) -> Output {
    run_with(folder, line, &[]).await
}

/// The same with these variables besides; an empty one is not set.
pub async fn run_with(folder: PathBuf, line: &str, variables: &[(&str, &str)]) -> Output {
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let words: Vec<String> = line
        .split('\'')
        .enumerate()
        .flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect();
    let redirect = words.iter().position(|word| word == "<");
    let input = redirect.map(|at| folder.join(&words[at + 1]));
    let words = words[..redirect.unwrap_or(words.len())].to_vec();
    let stdin = input.map_or(Stdio::null(), |file| std::fs::File::open(file).unwrap().into());
    tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
        command.args(words).current_dir(&folder).env_clear().stdin(stdin);
        command.env("TENURE_SOCKET", folder.join("admin.sock"));
        for (name, value) in variables {
            match value.is_empty() {
                true => command.env_remove(name),
                false => command.env(name, value),
            };
        }
        command.output().unwrap()
    })
    .await
    .unwrap()
}

/// Without what differs from run to run: the folder, and how long ago something was.
fn masked(text: &str, folder: &Path) -> String {
    let text = text.replace(&folder.display().to_string(), "FOLDER");
    let mask = |piece: &str| {
        let word = piece.trim_end();
        let tail = piece.get(word.len()..).unwrap_or_default();
        let days = word.trim_start_matches('(').strip_suffix('d').unwrap_or("");
        let is_age = days.len() >= 3 && days.bytes().all(|byte| byte.is_ascii_digit());
        format!("{}{tail}", if is_age { word.replace(days, "NNNN") } else { word.to_owned() })
    };
    let line = |line: &str| match line.trim_start().starts_with("\"attempt\"") {
        true => "    \"attempt\": RANDOM,\n".to_owned(),
        false => line.split_inclusive(char::is_whitespace).map(mask).collect(),
    };
    text.split_inclusive('\n').map(line).collect()
}
