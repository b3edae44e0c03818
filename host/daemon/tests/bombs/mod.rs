//! Small components that cost a compiler much.

#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::fmt::Write as _;

/// A component with the outer face of a policy around this core module.
fn policy_of(module: &str) -> Vec<u8> {
    let text = format!(
        r#"(component (core module {module}) (instance $i)
            (export "tenure:policy/lifecycle@0.1.0" (instance $i))
            (export "tenure:policy/select@0.1.0" (instance $i)))"#
    );
    wat::parse_str(text).unwrap()
}

/// Memory: each of `loops` nested loops carries each of `locals` variables, so the compiler holds their product. 3000 in
/// 1000 are 34 KB of Wasm, and more than 3 GiB in the compiler.
pub fn of_memory(locals: usize, loops: usize) -> Vec<u8> {
    let mut body = format!("(func (local {})", "i32 ".repeat(locals));
    body.push_str(&"loop ".repeat(loops));
    for local in 0..locals {
        write!(body, "local.get {local} i32.const 1 i32.add local.set {local} ").unwrap();
    }
    body.push_str(&"local.get 0 br_if 0 end ".repeat(loops));
    policy_of(&(body + ")"))
}

/// Time: `jumps` tables of fifty jumps in one function; 15,000 are 900 KB of Wasm.
pub fn of_time(jumps: usize) -> Vec<u8> {
    let targets: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let unit = format!("block local.get 0 br_table {} 0 end ", targets.join(" "));
    let body = format!(
        "(func (param i32) {}{}{})",
        "block ".repeat(60),
        unit.repeat(jumps),
        "end ".repeat(60)
    );
    policy_of(&body)
}
