//! What goes wrong when a hook is called: answers that are none, the canonical ABI abused, floods of calls to the host.

use crate::Then::*;
use crate::forge::{Parts, answer, words};
use crate::*;

pub fn cases() -> Vec<Case> {
    let mut cases = answers();
    cases.extend(reallocs());
    cases.extend(floods());
    cases
}

fn selecting(select: &str, extra: &str) -> Parts {
    Parts { select: select.to_owned(), extra: extra.to_owned(), ..Parts::default() }
}

/// The record of an answer at 1024: is it an error, which kind of answer, and its two words.
fn answers() -> Vec<Case> {
    let with = |record: &[u32], more: &str| selecting(&answer(1024), &(words(1024, record) + more));
    let row = |row: u32| words(2048, &[row]);
    let bad = Refused(HOOKS, "(bad-output)");
    vec![
        forged("neither answer nor error", with(&[9, 0, 0, 0, 0], ""), bad),
        forged("an answer of no kind", with(&[0, 9, 0, 0, 0], ""), Refused(HOOKS, "(bad-output)")),
        forged("no rows", with(&[0, 1, 2048, 0, 0], ""), Refused(HOOKS, "ranked no row")),
        forged(
            "a row that is not there",
            with(&[0, 1, 2048, 1, 0], &row(u32::MAX)),
            Refused(HOOKS, "4294967295"),
        ),
        forged(
            "rows beyond memory",
            with(&[0, 1, 0xffff_fff0, 9, 0], ""),
            Refused(HOOKS, "(bad-output)"),
        ),
        forged(
            "rows at an odd address",
            with(&[0, 1, 2049, 1, 0], ""),
            Refused(HOOKS, "(bad-output)"),
        ),
        forged(
            "a billion rows",
            with(&[0, 1, 2048, 1 << 30, 0], ""),
            Refused(HOOKS, "(bad-output)"),
        ),
        forged("100,000 rows", with(&[0, 1, 2048, 100_000, 0], ""), Refused(HOOKS, "(bad-output)")),
        forged("17 rows", with(&[0, 1, 2048, 17, 0], ""), Refused(HOOKS, "17 rows")),
        forged("the same row twice", with(&[0, 1, 2048, 2, 0], ""), Refused(HOOKS, "twice")),
        forged(
            "a refusal without a reason",
            with(&[0, 2, 2048, 0, 0], ""),
            Refused(HOOKS, "without a reason"),
        ),
        forged(
            "a reason that is half a character",
            with(&[0, 2, 2048, 2, 0], "(data (i32.const 2048) \"\\ed\\a0\")"),
            Refused(HOOKS, "(bad-output)"),
        ),
        forged("a reason of 2 KiB", with(&[0, 2, 131_072, 2048, 0], ""), Refused(HOOKS, "")),
        forged(
            "an error of 4 GiB",
            with(&[1, 16, u32::MAX, 16, 7], ""),
            Refused(HOOKS, "(bad-output)"),
        ),
        // "I cannot decide" is an answer.
        forged("an error of 200 KiB", with(&[1, 16, 7, 131_072, 200_000], ""), Abstains),
        forged(
            "an answer at no address",
            selecting(&answer(u32::MAX), ""),
            Refused(HOOKS, "(bad-output)"),
        ),
    ]
}

fn reallocs() -> Vec<Case> {
    let with = |realloc: &str| Parts { realloc: realloc.to_owned(), ..Parts::default() };
    let recursion = "(call $realloc (local.get 0) (local.get 1) (local.get 2) (local.get 3))";
    let logs = Parts {
        imports: import("log", "(param i32 i32 i32)"),
        ..with("(call $log (i32.const 2) (i32.const 16) (i32.const 7)) (i32.const 65536)")
    };
    let grows = "(drop (memory.grow (i32.const 64))) (i32.const 65536)";
    let huge = "(drop (memory.grow (i32.const 65535))) (i32.const 65536)";
    vec![
        forged("realloc traps", with("unreachable"), Refused(TRIAL, "(trap)")),
        forged(
            "realloc loops",
            with("(loop $again (br $again)) unreachable"),
            Refused(TRIAL, "(fuel)"),
        ),
        forged("realloc calls itself", with(recursion), Refused(TRIAL, "(stack)")),
        forged("realloc gives odd addresses", with("(i32.const 65537)"), Refused(HOOKS, "")),
        forged(
            "realloc gives what is beyond memory",
            with("(i32.const -64)"),
            RefusedAt(&[TRIAL, HOOKS]),
        ),
        forged(
            "realloc gives nothing",
            with("(i32.const 0)"),
            RefusedAt(&[TRIAL, HOOKS, DESCRIPTION]),
        ),
        // Its own harm: texts overwrite each other.
        forged("realloc gives the same place to all", with("(i32.const 262144)"), Abstains),
        forged("realloc calls the host", logs, Refused(TRIAL, "")),
        forged("realloc grows memory each time", with(grows), Abstains),
        forged("realloc wants 4 GiB and lives on", with(huge), Abstains),
    ]
}

fn import(function: &str, signature: &str) -> String {
    format!(
        "(import \"tenure:policy/host@0.1.0\" \"{function}\" (func ${} {signature}))",
        function.replace('-', "_")
    )
}

/// The body of a hook that does `call` for ever.
fn forever(call: &str) -> String {
    format!("(loop $again {call} (br $again)) unreachable")
}

fn floods() -> Vec<Case> {
    let with = |function: &str, signature: &str, call: &str| Parts {
        imports: import(function, signature),
        ..selecting(&forever(call), "")
    };
    let once = |function: &str, signature: &str, call: &str| Parts {
        imports: import(function, signature),
        ..selecting(&format!("{call} (i32.const 192)"), "")
    };
    let log = |level: &str, at: &str, length: &str| {
        format!("(call $log (i32.const {level}) (i32.const {at}) (i32.const {length}))")
    };
    let three = "(param i32 i32 i32)";
    let by_name = "(call $pool_by_name (i32.const 16) (i32.const 200000) (i32.const 1024))";
    let label = "(call $pool_label (i32.const 0) (i32.const 3000) (i32.const 2) (i32.const 1024))";
    let bytes = "(data (i32.const 3000) \"\\ff\\fe\")";
    vec![
        forged(
            "empty log lines for ever",
            with("log", three, &log("0", "16", "0")),
            Refused(HOOKS, "(logs)"),
        ),
        forged(
            "long log lines for ever",
            with("log", three, &log("4", "16", "20000")),
            Refused(HOOKS, "(logs)"),
        ),
        forged(
            "a log line of 4 GiB",
            once("log", three, &log("2", "16", "-1")),
            Refused(HOOKS, ""),
        ),
        forged(
            "a log line beyond memory",
            once("log", three, &log("2", "-16", "99")),
            Refused(HOOKS, ""),
        ),
        forged(
            "a log level that is none",
            once("log", three, &log("99", "16", "7")),
            Refused(HOOKS, ""),
        ),
        forged(
            "pool names for ever",
            with(
                "pool-name",
                "(param i32 i32)",
                "(call $pool_name (i32.const 0) (i32.const 1024))",
            ),
            Refused(HOOKS, "(lookups)"),
        ),
        forged(
            "names of 200 KB for ever",
            with("pool-by-name", three, by_name),
            Refused(HOOKS, ""),
        ),
        forged(
            "the log level for ever",
            with("log-level", "(result i32)", "(drop (call $log_level))"),
            Refused(HOOKS, "(lookups)"),
        ),
        forged(
            "a label key that is not UTF-8",
            Parts {
                extra: bytes.to_owned(),
                ..once("pool-label", "(param i32 i32 i32 i32)", label)
            },
            Refused(HOOKS, ""),
        ),
        forged(
            "an answer of the host at an odd address",
            once(
                "pool-name",
                "(param i32 i32)",
                "(call $pool_name (i32.const 0) (i32.const 1025))",
            ),
            Refused(HOOKS, ""),
        ),
        forged(
            "an answer of the host beyond memory",
            once("pool-name", "(param i32 i32)", "(call $pool_name (i32.const 0) (i32.const -4))"),
            Refused(HOOKS, ""),
        ),
    ]
}
