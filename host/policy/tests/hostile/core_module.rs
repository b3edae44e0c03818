//! Hostile core modules: start functions, memories, tables, recursion, sizes.

use crate::Then::*;
use crate::forge::Parts;
use crate::*;

pub fn cases() -> Vec<Case> {
    let mut cases = starts();
    cases.extend(memories());
    cases.extend(sizes());
    cases.extend(features());
    cases
}

fn extra(extra: impl Into<String>) -> Parts {
    Parts { extra: extra.into(), ..Parts::default() }
}

fn starts() -> Vec<Case> {
    let start = |body: &str| extra(format!("(func $start {body}) (start $start)"));
    let call_indirect = "(table $t 1 funcref) (elem (i32.const 0) $round)
        (type $none (func)) (func $round (call_indirect $t (type $none) (i32.const 0)))";
    vec![
        forged("the start loops", start("(loop $again (br $again))"), Refused(TRIAL, "(fuel)")),
        forged("the start traps", start("unreachable"), Refused(TRIAL, "(trap)")),
        forged("the start calls itself", start("(call $start)"), Refused(TRIAL, "(stack)")),
        forged(
            "the start calls itself with a hundred locals",
            start(&format!("{} (call $start)", "(local i64)".repeat(100))),
            Refused(TRIAL, "(stack)"),
        ),
        forged(
            "a table calls itself",
            extra(format!("{call_indirect} (func $start (call $round)) (start $start)")),
            Refused(TRIAL, "(stack)"),
        ),
        forged(
            "the start divides by nothing",
            start("(drop (i32.div_u (i32.const 1) (i32.const 0)))"),
            Refused(TRIAL, "(trap)"),
        ),
        forged(
            "the start reads beyond memory",
            start("(drop (i32.load (i32.const -8)))"),
            Refused(TRIAL, ""),
        ),
        forged(
            "the start fills all memory, again and again",
            start(
                "(loop $again (memory.fill (i32.const 0) (i32.const 7) (i32.const 524288)) (br $again))",
            ),
            RefusedAt(&[TRIAL]),
        ),
    ]
}

fn memories() -> Vec<Case> {
    let memory = |pages: &str| Parts {
        memory: format!("(memory (export \"memory\") {pages})"),
        ..Parts::default()
    };
    let grow_table = "(table $t 1 funcref) (func $start
        (loop $again (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
        unreachable) (start $start)";
    vec![
        forged("125 MiB of memory at once", memory("2000"), RefusedAt(&[COMPILING, TRIAL])),
        forged("17 MiB of memory at once", memory("272"), Refused(TRIAL, "")),
        forged("4 GiB of memory at once", memory("65536"), RefusedAt(&[COMPILING, TRIAL])),
        forged(
            "a table of 20 M elements",
            extra("(table 20000000 funcref)"),
            RefusedAt(&[COMPILING, TRIAL]),
        ),
        forged(
            "a table of 10,001 elements",
            extra("(table 10001 funcref)"),
            RefusedAt(&[COMPILING, TRIAL]),
        ),
        forged("a table that grows for ever", extra(grow_table), Refused(TRIAL, "(trap)")),
        forged(
            "a hundred tables",
            extra("(table 10 funcref)".repeat(100)),
            RefusedAt(&[COMPILING, TRIAL]),
        ),
        forged(
            "data beyond memory",
            extra("(data (i32.const 0x7ffffff0) \"xxxx\")"),
            RefusedAt(&[COMPILING, TRIAL]),
        ),
        forged(
            "elements beyond their table",
            extra("(table 1 funcref) (elem (i32.const 9) $select)"),
            RefusedAt(&[COMPILING, TRIAL]),
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let many = |count: usize, of: &dyn Fn(usize) -> String| (0..count).map(of).collect::<String>();
    let data = format!("(data (i32.const 70000) \"{}\")", "x".repeat(3 << 20));
    let too_much = format!("(data (i32.const 70000) \"{}\")", "x".repeat((4 << 20) + 1));
    let nested = format!("(func {} {})", "block ".repeat(4000), "end ".repeat(4000));
    let sum = format!("(func (result i32) i32.const 1 {})", "i32.const 1 i32.add ".repeat(100_000));
    let table =
        format!("(func (param i32) (block (br_table {} (local.get 0))))", "0 ".repeat(50_000));
    let globals = many(20_000, &|n| format!("(global i64 (i64.const {n}))"));
    let exports = many(5_000, &|n| format!("(export \"e{n}\" (func $select))"));
    let types = many(5_000, &|n| {
        format!(
            "(type (func {} {}))",
            "(param i64)".repeat(n % 20),
            "(param f32)".repeat(n / 20 % 250)
        )
    });
    vec![
        forged(
            "3 MiB of data",
            Parts { memory: "(memory (export \"memory\") 64)".into(), ..extra(data) },
            Abstains,
        ),
        forged(
            "more bytes than are read",
            Parts { memory: "(memory (export \"memory\") 200)".into(), ..extra(too_much) },
            Refused(READING, "larger than"),
        ),
        forged("3,000 functions", extra("(func)".repeat(3_000)), Abstains),
        forged("5,000 types", extra(types), Abstains),
        forged("20,000 globals", extra(globals), Abstains),
        forged("5,000 exports", extra(exports), Abstains),
        forged(
            "60,000 locals",
            extra(format!("(func {})", "(local i64)".repeat(60_000))),
            Refused(COMPILING, "locals"),
        ),
        forged("4,000 blocks in each other", extra(nested), Abstains),
        forged("a sum of 100,000", extra(sum), Abstains),
        forged("a branch to 50,000 places", extra(table), Abstains),
    ]
}

/// What this host does not offer: no determinism, or no measure.
fn features() -> Vec<Case> {
    let relaxed = "(func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))";
    vec![
        forged("two memories", extra("(memory 1)"), Refused(COMPILING, "memories")),
        forged("three memories", extra("(memory 1) (memory 1)"), RefusedAt(&[COMPILING, TRIAL])),
        forged("a shared memory", extra("(memory 1 1 shared)"), Refused(COMPILING, "")),
        forged("a memory of 64 bits", extra("(memory i64 1)"), Refused(COMPILING, "")),
        forged("relaxed vectors", extra(relaxed), Refused(COMPILING, "relaxed")),
        forged("garbage collection", extra("(type (struct (field i32)))"), Refused(COMPILING, "")),
        forged("exceptions", extra("(tag)"), Refused(COMPILING, "")),
    ]
}
