//! Tables without borders, as kubectl draws them.

use comfy_table::{ColumnConstraint, ContentArrangement, Table};

use crate::shown::{CELL, shown};

/// The table with its header. The last column has no padding, so that lines do not end in blanks.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    let row = |row: Vec<String>| row.into_iter().map(|cell| shown(&cell, CELL));
    table.add_rows(rows.into_iter().map(row));
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// `-` for what is empty.
pub(crate) fn dash(text: impl Into<String>) -> String {
    let text = text.into();
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let rows = vec![vec!["blue-v4".into(), "1".into()], vec!["b".into(), "22".into()]];
        assert_eq!(table(&["NAME", "FREE"], rows), "NAME      FREE\nblue-v4   1\nb         22\n");
    }
}
