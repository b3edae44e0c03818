//! The documentation of reclaim says what the code does.

use tenure_core::defaults::TABLE;

#[test]
fn the_figures_in_the_documentation_are_those_of_the_code() {
    let text = include_str!("../RECLAIM.md");
    for (figure, value, setting) in TABLE {
        let row = format!("| {figure} | {value} | {setting} |");
        assert!(text.contains(&row), "RECLAIM.md lacks {row:?}");
    }
}
