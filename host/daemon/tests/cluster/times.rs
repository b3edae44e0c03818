//! What the stories measure: a row each, printed, and kept in a table for whoever runs the suite.

use std::fmt::Debug;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

/// Whether the table of this run has been begun.
static BEGUN: Mutex<bool> = Mutex::new(false);

/// Adds a row: a time, or a number.
pub fn row(what: &str, value: impl Debug) {
    let line = format!("{:>10}  {what}", format!("{value:.2?}"));
    println!("{line}");
    let mut begun = BEGUN.lock().unwrap();
    // `cargo xtask test` prints it.
    let table = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster-times.txt");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .append(*begun)
        .truncate(!*begun)
        .open(table)
        .unwrap();
    *begun = true;
    writeln!(file, "{line}").unwrap();
}
