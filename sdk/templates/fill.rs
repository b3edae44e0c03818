//! Fills the templates of a new policy. On std alone, so that it can be included (`#[path = ".."] mod`) where `tenure policy new`
//! is made, and by the test that builds every subset of hooks. The rules are in `README.md` beside it.

/// The hooks, in the order in which they are written.
pub const HOOKS: [&str; 3] = ["select", "affinity", "reclaim"];

/// Path in the new crate, its template, and the hook without which it is left out.
const FILES: [(&str, &str, Option<&str>); 12] = [
    ("Cargo.toml", include_str!("crate/Cargo.toml.in"), None),
    (".cargo/config.toml", include_str!("crate/cargo-config.toml.in"), None),
    (".gitignore", include_str!("crate/gitignore.in"), None),
    ("README.md", include_str!("crate/README.md.in"), None),
    ("src/settings.json", include_str!("crate/src/settings.json.in"), None),
    ("src/lib.rs", include_str!("crate/src/lib.rs.in"), None),
    ("src/select.rs", include_str!("crate/src/select.rs.in"), Some("select")),
    ("src/affinity.rs", include_str!("crate/src/affinity.rs.in"), Some("affinity")),
    ("src/reclaim.rs", include_str!("crate/src/reclaim.rs.in"), Some("reclaim")),
    ("fixtures/select.yaml", include_str!("crate/fixtures/select.yaml.in"), Some("select")),
    ("fixtures/affinity.yaml", include_str!("crate/fixtures/affinity.yaml.in"), Some("affinity")),
    ("fixtures/reclaim.yaml", include_str!("crate/fixtures/reclaim.yaml.in"), Some("reclaim")),
];

/// The files of a new policy: path and text.
///
/// `name` is the name of a crate: lower-case letters, digits and dashes, beginning with a letter ([`is_name`]). `hooks` are some
/// of [`HOOKS`], in any order. `sdk_dependency` is what stands behind `tenure-policy = ` in `Cargo.toml`: a version
/// in quotes, or a table with a path.
pub fn fill(name: &str, hooks: &[&str], sdk_dependency: &str) -> Vec<(&'static str, String)> {
    let hooks: Vec<&str> = HOOKS.into_iter().filter(|hook| hooks.contains(hook)).collect();
    let of_chosen = |hook: &Option<&str>| hook.is_none_or(|hook| hooks.contains(&hook));
    let words = [
        ("{{name}}", name.to_owned()),
        ("{{type_name}}", type_name(name)),
        ("{{hooks}}", hooks.join(", ")),
        ("{{sdk_dependency}}", sdk_dependency.to_owned()),
    ];
    let filled = |template: &str| {
        let lines = template.lines().filter_map(|line| kept(line, &hooks));
        let text: String = lines.flat_map(|line| [line, "\n"]).collect();
        words.iter().fold(text, |text, (mark, word)| text.replace(mark, word))
    };
    let chosen = FILES.into_iter().filter(|(_, _, hook)| of_chosen(hook));
    chosen.map(|(path, template, _)| (path, filled(template))).collect()
}

/// Whether `name` can be that of a crate and of a policy.
pub fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(allowed)
}

/// `pool-order` is `PoolOrder`.
fn type_name(name: &str) -> String {
    let capital = |part: &str| {
        let mut letters = part.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
    };
    name.split('-').map(|part| -> String { capital(part) }).collect()
}

/// The line without its mark, unless it is one of a hook that was not chosen.
fn kept<'a>(line: &'a str, hooks: &[&str]) -> Option<&'a str> {
    let marked = HOOKS.into_iter().find_map(|hook| {
        let rest = line.strip_prefix("{{")?.strip_prefix(hook)?.strip_prefix("}}")?;
        Some((hook, rest))
    });
    match marked {
        None => Some(line),
        Some((hook, rest)) => hooks.contains(&hook).then_some(rest),
    }
}
