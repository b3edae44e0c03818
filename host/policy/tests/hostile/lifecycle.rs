//! Bombs and lies in `describe`, `validate-settings` and `init`.

use crate::Then::*;
use crate::forge::{Parts, answer, described, text, words};
use crate::*;

const LOOP: &str = "(loop $again (br $again)) unreachable";
const SCHEMA_AT: u32 = 100_000;

fn describing(record: [u32; 8], more: &str) -> Parts {
    Parts { describe: answer(1024), extra: words(1024, &record) + more, ..Parts::default() }
}

/// A policy whose schema is that text.
fn schema(schema: &str) -> Parts {
    let escaped = schema.replace('\\', "\\\\").replace('"', "\\\"");
    let length = u32::try_from(schema.len()).unwrap();
    Parts { extra: described((SCHEMA_AT, length)) + &text(SCHEMA_AT, &escaped), ..Parts::default() }
}

pub fn cases() -> Vec<Case> {
    let mut cases = descriptions();
    cases.extend(schemas());
    cases.extend(validations());
    cases.extend(inits());
    cases
}

fn descriptions() -> Vec<Case> {
    let with = |describe: &str| Parts { describe: describe.to_owned(), ..Parts::default() };
    let honest = [16, 7, 32, 1, 48, 2, 0, 0];
    let changed = |at: usize, value: u32| {
        let mut record = honest;
        record[at] = value;
        record
    };
    let keys = |count: u32| {
        let mut record = honest;
        (record[6], record[7]) = (2048, count);
        let one = [40_000, 10];
        describing(record, &(words(2048, &one.repeat(100)) + &text(40_000, "cni.args/x")))
    };
    vec![
        forged("describe traps", with("unreachable"), Refused(TRIAL, "(trap)")),
        forged("describe loops", with(LOOP), Refused(TRIAL, "(fuel)")),
        forged("describe points out of memory", with(&answer(0xffff_fff0)), RefusedAt(&[TRIAL])),
        forged("describe is misaligned", with(&answer(65)), Refused(TRIAL, "")),
        forged("a name of 4 GiB", describing(changed(1, u32::MAX), ""), Refused(TRIAL, "")),
        forged("a name of 300 KiB", describing(changed(1, 300 << 10), ""), Refused(TRIAL, "")),
        forged(
            "a name of 1 KiB",
            describing(changed(1, 1 << 10), ""),
            Refused(DESCRIPTION, "1024 bytes"),
        ),
        forged("no name", describing(changed(1, 0), ""), Refused(DESCRIPTION, "0 bytes")),
        forged(
            "a name that is not UTF-8",
            describing(honest, "(data (i32.const 16) \"\\ff\\fe\")"),
            Refused(TRIAL, ""),
        ),
        forged(
            "a name that clears the terminal",
            describing(honest, "(data (i32.const 16) \"\\1b[2J\")"),
            Refused(DESCRIPTION, "control characters"),
        ),
        forged("65 attributes", keys(65), Refused(DESCRIPTION, "65 attributes")),
        forged("a list of 100 M attributes", keys(100_000_000), Refused(TRIAL, "")),
    ]
}

fn schemas() -> Vec<Case> {
    let deep = "[".repeat(50_000);
    let nested = format!("{}{{}}{}", r#"{"not":"#.repeat(120), "}".repeat(120));
    let fork = |levels: usize| {
        // Each level asks the one below twice.
        (0..levels).fold("{}".to_owned(), |inner, _| format!(r#"{{"allOf":[{inner},{inner}]}}"#))
    };
    let choices: Vec<String> = (0..9000).map(|n| n.to_string()).collect();
    let choices = format!(r#"{{"enum":[{{}},{}]}}"#, choices.join(","));
    vec![
        forged("a schema that is no JSON", schema("{not json"), Refused(DESCRIPTION, "not JSON")),
        forged("a schema of 50,000 brackets", schema(&deep), Refused(DESCRIPTION, "not JSON")),
        forged("a schema that is a number", schema("7"), Refused(DESCRIPTION, "not an object")),
        forged(
            "a schema that refers to itself",
            schema(r##"{"$ref":"#"}"##),
            Refused(DESCRIPTION, "$ref"),
        ),
        forged(
            "a schema that refers to the network",
            schema(r#"{"$ref":"http://example.invalid/s.json"}"#),
            Refused(DESCRIPTION, "$ref"),
        ),
        forged(
            "a pattern that multiplies itself",
            schema(r#"{"properties":{"a":{"pattern":"((a{0,9999}){0,9999}){0,9999}"}}}"#),
            Abstains,
        ),
        forged("a schema of unknown draft", schema(r#"{"$schema":"x:y"}"#), Abstains),
        forged("a schema nested 120 deep", schema(&nested), Abstains),
        forged("a schema of 2^12 branches", schema(&fork(12)), Abstains),
        forged("a schema with 9000 choices", schema(&choices), Abstains),
        forged("a schema that admits nothing", schema(r#"{"not":{}}"#), Refused(SETTINGS, "/: ")),
    ]
}

fn validations() -> Vec<Case> {
    let with = |validate: &str, extra: &str| Parts {
        validate: validate.to_owned(),
        extra: extra.to_owned(),
        ..Parts::default()
    };
    // 5,000 errors that are all the same two texts.
    let many = words(1024, &[4096, 5000]) + &words(4096, &[16, 7, 32, 1].repeat(5000));
    let long = words(1024, &[2048, 1]) + &words(2048, &[32, 1, 131_072, 200_000]);
    let ugly = words(1024, &[2048, 1])
        + &words(2048, &[3000, 4, 16, 7])
        + "(data (i32.const 3000) \"\\1b[2J\")";
    vec![
        forged("validate traps", with("unreachable", ""), Refused(TRIAL, "(trap)")),
        forged("validate loops", with(LOOP, ""), Refused(TRIAL, "(fuel)")),
        forged(
            "validate finds 5,000 errors",
            with(&answer(1024), &many),
            RefusedAt(&[SETTINGS, TRIAL]),
        ),
        forged("validate tells 200 KB", with(&answer(1024), &long), Refused(SETTINGS, "1: ")),
        forged(
            "validate clears the terminal",
            with(&answer(1024), &ugly),
            Refused(SETTINGS, "hostile"),
        ),
        forged(
            "a list of errors beyond memory",
            with(&answer(1024), &words(1024, &[0x7fff_fff8, 100])),
            Refused(TRIAL, ""),
        ),
    ]
}

fn inits() -> Vec<Case> {
    let with = |init: &str, extra: &str| Parts {
        init: init.to_owned(),
        extra: extra.to_owned(),
        ..Parts::default()
    };
    let grow = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    vec![
        forged("init traps", with("unreachable", ""), Refused(TRIAL, "(trap)")),
        forged("init loops", with(LOOP, ""), Refused(TRIAL, "(fuel)")),
        forged("init takes all memory", with(grow, ""), Refused(TRIAL, "(memory)")),
        forged(
            "init answers neither yes nor no",
            with(&answer(1024), &words(1024, &[7, 0, 0])),
            Refused(TRIAL, ""),
        ),
        forged(
            "init refuses what validate took",
            with(&answer(1024), &(words(1024, &[1, 2048, 1]) + &words(2048, &[32, 1, 16, 7]))),
            Refused(SETTINGS, "defect of the policy"),
        ),
        forged(
            "init calls itself through describe",
            with("(drop (call $init (local.get 0) (local.get 1))) (i32.const 160)", ""),
            Refused(TRIAL, "(stack)"),
        ),
    ]
}
