//! Texts of others on a terminal. Names of owners, namespaces and reasons come from whoever calls CNI: a control
//! character in one of them could draw a second line, or a screen, that nobody sent. JSON and YAML stay exact.

/// Characters of a cell. A digest has 71, and a terminal hardly more than twice that.
pub(crate) const CELL: usize = 128;
/// Characters of a value that has a line for itself.
pub(crate) const LINE: usize = 2_048;

/// The text with control characters escaped, cut to `longest` characters and an ellipsis.
pub(crate) fn shown(text: &str, longest: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(longest));
    for (at, letter) in text.chars().enumerate() {
        if at == longest {
            shown.push('\u{2026}');
            break;
        }
        match letter.is_control() || turns_lines(letter) {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    shown
}

/// No control characters by Unicode's word, but they end lines or turn the direction of writing.
fn turns_lines(letter: char) -> bool {
    matches!(
        letter,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_the_terminal_is_escaped_and_the_rest_stays() {
        assert_eq!(shown("web-0\n\u{1b}[2J\u{202e}x", CELL), "web-0\\n\\u{1b}[2J\\u{202e}x");
        assert_eq!(shown("B\u{fc}ro 2", CELL), "B\u{fc}ro 2");
    }

    #[test]
    fn what_is_too_long_is_cut_and_the_cut_is_seen() {
        assert_eq!(shown("abcd", 3), "abc\u{2026}");
        assert_eq!(shown("abc", 3), "abc");
    }
}
