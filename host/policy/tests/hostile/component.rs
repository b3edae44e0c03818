//! Hostile components: files that are half, imports of all kinds, nesting, exports that clash.

use crate::Then::*;
use crate::forge::Parts;
use crate::*;

pub fn cases() -> Vec<Case> {
    let mut cases = files();
    cases.extend(imports());
    cases.extend(exports());
    cases.extend(nests());
    cases
}

fn raw(name: &'static str, bytes: Vec<u8>, then: Then) -> Case {
    Case { name, bytes, then }
}

fn written(name: &'static str, text: &str, then: Then) -> Case {
    raw(name, wat::parse_str(text).unwrap_or_else(|error| panic!("{name}: {error}")), then)
}

fn files() -> Vec<Case> {
    let good = Parts::default().component();
    let cut = |parts: usize| good[..good.len() * parts / 16].to_vec();
    let with = |tail: &[u8]| [&good[..], tail].concat();
    let custom = |bytes: usize| {
        let length = leb(u64::try_from(bytes + 2).unwrap());
        [&[0][..], &length, &[1, b'x'], &vec![0; bytes]].concat()
    };
    let half = RefusedAt(&[RECOGNISING, EXPORTS, COMPILING]);
    vec![
        raw("a sixteenth of a component", cut(1), half),
        raw("half a component", cut(8), RefusedAt(&[RECOGNISING, EXPORTS, COMPILING])),
        raw(
            "all but the end of a component",
            cut(15),
            RefusedAt(&[RECOGNISING, EXPORTS, COMPILING]),
        ),
        raw("a component and a tail", with(b"tail"), Refused(RECOGNISING, "damaged")),
        raw("a component and another one", with(&good), Refused(RECOGNISING, "damaged")),
        raw("3 MiB of custom section", with(&custom(3 << 20)), Abstains),
        raw("5 MiB of custom section", with(&custom(5 << 20)), Refused(READING, "larger than")),
        raw(
            "a section of 4 GiB that is not there",
            with(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            Refused(RECOGNISING, "damaged"),
        ),
        raw(
            "a number that never ends",
            with(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Refused(RECOGNISING, "damaged"),
        ),
        raw(
            "a header and nothing",
            b"\0asm\x0d\0\x01\0".to_vec(),
            Refused(EXPORTS, "nothing at all"),
        ),
        raw(
            "2 million sections",
            [&b"\0asm\x0d\0\x01\0"[..], &[0, 1, 0].repeat(1 << 20)].concat(),
            Refused(EXPORTS, "nothing at all"),
        ),
    ]
}

fn leb(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        bytes.push(if value == 0 { low } else { low | 0x80 });
        if value == 0 {
            return bytes;
        }
    }
}

fn imports() -> Vec<Case> {
    let import = |what: &str| format!("(component (import {what}))");
    let many: String = (0..2000).map(|n| format!("(import \"a:b/i{n}\" (instance))")).collect();
    let mut ugly = wat::parse_str(import(r#""a:b/x-y-cd" (instance)"#)).unwrap();
    let at = ugly.windows(4).position(|window| window == b"x-y-").unwrap();
    ugly[at..at + 4].copy_from_slice(b"\x1b[2J");
    let host = |body: &str| {
        let stub = r#"(instance $none) (export "tenure:policy/lifecycle@0.1.0" (instance $none))
            (export "tenure:policy/select@0.1.0" (instance $none))"#;
        format!("(component (import \"tenure:policy/host@0.1.0\" (instance {body})) {stub})")
    };
    vec![
        written("it imports a function", &import(r#""run" (func)"#), Refused(IMPORTS, "run")),
        written(
            "it imports a core module",
            &import(r#""m" (core module)"#),
            Refused(IMPORTS, "it imports m"),
        ),
        written(
            "it imports a component",
            &import(r#""c" (component)"#),
            Refused(IMPORTS, "it imports c"),
        ),
        written(
            "it imports a resource",
            &import(r#""r" (type (sub resource))"#),
            Refused(IMPORTS, "it imports r"),
        ),
        written(
            "it imports sockets",
            &import(r#""wasi:sockets/tcp@0.2.6" (instance)"#),
            Refused(IMPORTS, "wasi:sockets/tcp"),
        ),
        written(
            "it imports a host of tomorrow",
            &import(r#""tenure:policy/host@0.2.0" (instance)"#),
            Refused(IMPORTS, "use the SDK of this host"),
        ),
        raw("an import that clears the terminal", ugly, Refused(IMPORTS, "a:b/ [2Jcd")),
        written("2,000 imports", &format!("(component {many})"), Refused(IMPORTS, "and 1980 more")),
        written(
            "it wants more of the host than there is",
            &host(r#"(export "exec" (func))"#),
            Refused(COMPILING, "exec"),
        ),
        written(
            "it wants another log",
            &host(r#"(export "log" (func (param "x" u64)))"#),
            Refused(COMPILING, "log"),
        ),
    ]
}

fn exports() -> Vec<Case> {
    let none = "(instance $none)";
    let export = |names: &[&str]| {
        let exports: String =
            names.iter().map(|name| format!("(export \"{name}\" (instance $none))")).collect();
        format!("(component {none} {exports})")
    };
    let twice = {
        // `wat` refuses to write two exports of one name; the binary form does not.
        let bytes =
            wat::parse_str(export(&["tenure:policy/select@0.1.0", "tenure:policy/selecs@0.1.0"]))
                .unwrap();
        let at = bytes.windows(6).position(|window| window == b"selecs").unwrap();
        let mut bytes = bytes;
        bytes[at..at + 6].copy_from_slice(b"select");
        bytes
    };
    vec![
        written(
            "hooks that are empty",
            &export(&["tenure:policy/lifecycle@0.1.0", "tenure:policy/select@0.1.0"]),
            Refused(TRIAL, ""),
        ),
        written(
            "a hook without its lifecycle",
            &export(&["tenure:policy/select@0.1.0"]),
            Refused(EXPORTS, "lifecycle"),
        ),
        written(
            "a lifecycle without a hook",
            &export(&["tenure:policy/lifecycle@0.1.0"]),
            Refused(EXPORTS, "select, affinity or reclaim"),
        ),
        written(
            "a hook of tomorrow",
            &export(&["tenure:policy/select@0.2.0"]),
            Refused(EXPORTS, "select@0.2.0"),
        ),
        written(
            "a hook of no version",
            &export(&["tenure:policy/select"]),
            Refused(EXPORTS, "tenure:policy/select"),
        ),
        raw("two hooks of one name", twice, RefusedAt(&[COMPILING, EXPORTS, RECOGNISING])),
    ]
}

fn nests() -> Vec<Case> {
    // In binary, for `wat` does not nest so deep: a header, then a section with a component.
    let header = b"\0asm\x0d\0\x01\0";
    let nested = |depth: usize| {
        (1..depth).fold(header.to_vec(), |inner, _| {
            let length = leb(u64::try_from(inner.len()).unwrap());
            [&header[..], &[4], &length, &inner].concat()
        })
    };
    let stub = r#"(instance $none) (export "tenure:policy/lifecycle@0.1.0" (instance $none))
        (export "tenure:policy/select@0.1.0" (instance $none))"#;
    let instances = format!(
        "(component (core module $m) {} {stub})",
        "(core instance (instantiate $m))".repeat(500)
    );
    let memories = format!(
        "(component (core module $m (memory 100)) {} {stub})",
        "(core instance (instantiate $m))".repeat(2)
    );
    let modules = format!("(component {} {stub})", "(core module)".repeat(2000));
    // Each level has two of the level below: 2^n in all.
    let double = |levels: usize| {
        let inner = (0..levels).fold("(component $c)".to_owned(), |inner, _| {
            format!(
                "(component $c {inner} (instance (instantiate $c)) (instance (instantiate $c)))"
            )
        });
        format!("(component {inner} (instance (instantiate $c)) {stub})")
    };
    let loops = format!(
        "(component (core module $m (func $f (loop $l (br $l))) (start $f)) (core instance (instantiate $m)) {stub})"
    );
    let talk = format!(
        r#"(component
            (component $a
                (core module $m (memory (export "memory") 1) (func (export "f") (param i32 i32))
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
                (core instance $i (instantiate $m))
                (func (export "f") (param "s" string) (canon lift (core func $i "f")
                    (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
            (component $b
                (import "f" (func $f (param "s" string)))
                (core module $l (memory (export "memory") 1))
                (core instance $own (instantiate $l))
                (core func $low (canon lower (func $f) (memory (core memory $own "memory"))))
                (core module $m (import "" "f" (func (param i32 i32))))
                (core instance (instantiate $m (with "" (instance (export "f" (func $low)))))))
            (instance $a (instantiate $a))
            (instance (instantiate $b (with "f" (func $a "f"))))
            {stub})"#
    );
    let asks = RefusedAt(&[COMPILING, TRIAL]);
    vec![
        raw("components 90 deep", nested(90), Refused(EXPORTS, "nothing at all")),
        raw("components 3,000 deep", nested(3_000), RefusedAt(&[RECOGNISING, EXPORTS, COMPILING])),
        // What the compiler makes of this has two memories.
        written("components that pass texts to each other", &talk, Refused(TRIAL, "")),
        written("500 core instances", &instances, asks),
        written("two memories of 6 MiB in two instances", &memories, Refused(TRIAL, "")),
        written("2,000 core modules", &modules, RefusedAt(&[COMPILING, TRIAL])),
        written("2^16 instances by doubling", &double(16), RefusedAt(&[COMPILING, TRIAL])),
        written("a start in a side module loops", &loops, RefusedAt(&[COMPILING, TRIAL])),
    ]
}
