//! A look at a network configuration that needs no JSON library and no memory but the stack: it walks the whole
//! text once, with a bounded depth, and keeps the few texts that the plugin needs.
//!
//! It is tolerant in one way: what was found stays found, and a value of the wrong type does not end the walk. So a DEL
//! whose configuration is broken elsewhere still has its identity.

use std::fmt;

/// Objects and lists may be nested so deep.
pub(crate) const MAX_DEPTH: usize = 64;

/// What the plugin needs of a network configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outline {
    /// `cniVersion`.
    pub(crate) cni_version: Option<String>,
    /// `name`.
    pub(crate) name: Option<String>,
    /// `ipam.socket`.
    pub(crate) socket: Option<String>,
    /// `ipam.spool`.
    pub(crate) spool: Option<String>,
    /// Where and why the walk ended early, if it did.
    pub(crate) fault: Option<Fault>,
}

/// Why a text is not a network configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Byte offset.
    pub(crate) at: usize,
    /// What is wrong there.
    pub(crate) why: &'static str,
}

impl Outline {
    /// Walks `text`.
    #[must_use]
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut outline = Self::default();
        let mut walk = Walk { text, at: 0, depth: 0 };
        if let Err(why) = walk.document(&mut outline) {
            outline.blame(walk.at, why);
        }
        outline
    }

    /// The first fault is the one that is told.
    fn blame(&mut self, at: usize, why: &'static str) {
        self.fault.get_or_insert(Fault { at, why });
    }

    fn keep(&mut self, path: Path, key: &str, value: String) {
        match (path, key) {
            (Path::Top, "cniVersion") => self.cni_version = Some(value),
            (Path::Top, "name") => self.name = Some(value),
            (Path::Ipam, "socket") => self.socket = Some(value),
            (Path::Ipam, "spool") => self.spool = Some(value),
            _ => {}
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.why, self.at)
    }
}

/// Which object is being walked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    Top,
    Ipam,
    Elsewhere,
}

impl Path {
    fn below(self, key: &str) -> Self {
        if self == Self::Top && key == "ipam" { Self::Ipam } else { Self::Elsewhere }
    }

    /// The keys whose value must be a text, for nothing can be done without reading them.
    fn wants_text(self, key: &str) -> bool {
        matches!((self, key), (Self::Top, "cniVersion" | "name") | (Self::Ipam, "socket" | "spool"))
    }
}

type Walked<T> = Result<T, &'static str>;

const TOO_DEEP: &str = "nested deeper than 64 levels";
const NOT_UTF8: &str = "a text that is not UTF-8";
const NOT_A_STRING: &str = "a value that must be a text";
const EARLY_END: &str = "unexpected end";

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl Walk<'_> {
    fn document(&mut self, outline: &mut Outline) -> Walked<()> {
        match self.next_solid() {
            Some(b'{') => self.object(Path::Top, outline)?,
            Some(_) => return Err("the configuration must be an object"),
            None => return Err("an empty configuration"),
        }
        if self.next_solid().is_some() { Err("more text after the configuration") } else { Ok(()) }
    }

    fn value(&mut self, path: Path, outline: &mut Outline) -> Walked<()> {
        match self.next_solid().ok_or(EARLY_END)? {
            b'{' => self.object(path, outline),
            b'[' => self.list(outline),
            b'"' => self.string().map(drop),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err("an unexpected character"),
        }
    }

    fn object(&mut self, path: Path, outline: &mut Outline) -> Walked<()> {
        self.enter()?;
        if self.next_solid() != Some(b'}') {
            loop {
                self.member(path, outline)?;
                if !self.goes_on(b'}')? {
                    break;
                }
            }
        }
        self.leave()
    }

    fn member(&mut self, path: Path, outline: &mut Outline) -> Walked<()> {
        if self.next_solid() != Some(b'"') {
            return Err("a key that is not a text");
        }
        let key = self.string()?;
        if self.next_solid() != Some(b':') {
            return Err("a key without a value");
        }
        self.at += 1;
        if !path.wants_text(&key) {
            return self.value(path.below(&key), outline);
        }
        match self.next_solid() {
            Some(b'"') => outline.keep(path, &key, self.string()?),
            Some(b'n') => self.word(b"null")?,
            _ => {
                // The walk goes on: `name` may come after it.
                outline.blame(self.at, NOT_A_STRING);
                self.value(Path::Elsewhere, outline)?;
            }
        }
        Ok(())
    }

    fn list(&mut self, outline: &mut Outline) -> Walked<()> {
        self.enter()?;
        if self.next_solid() != Some(b']') {
            loop {
                self.value(Path::Elsewhere, outline)?;
                if !self.goes_on(b']')? {
                    break;
                }
            }
        }
        self.leave()
    }

    /// After an element: a comma goes on, `close` ends.
    fn goes_on(&mut self, close: u8) -> Walked<bool> {
        match self.next_solid().ok_or(EARLY_END)? {
            b',' => {
                self.at += 1;
                Ok(true)
            }
            byte if byte == close => Ok(false),
            _ => Err("a missing comma"),
        }
    }

    fn enter(&mut self) -> Walked<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(TOO_DEEP);
        }
        self.at += 1;
        Ok(())
    }

    fn leave(&mut self) -> Walked<()> {
        self.depth = self.depth.saturating_sub(1);
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Walked<()> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err("an unexpected character");
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Walked<()> {
        self.skip(b"-");
        if !self.skip(b"0") {
            self.digits()?;
        }
        if self.skip(b".") {
            self.digits()?;
        }
        if self.skip(b"eE") {
            self.skip(b"+-");
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Walked<()> {
        if !self.skip(b"0123456789") {
            return Err("a number without a digit where one must be");
        }
        while self.skip(b"0123456789") {}
        Ok(())
    }

    /// Takes the next byte if it is one of these.
    fn skip(&mut self, any: &[u8]) -> bool {
        let found = self.peek().is_some_and(|byte| any.contains(&byte));
        self.at += usize::from(found);
        found
    }

    /// A quoted text; `at` stands on the opening quote.
    fn string(&mut self) -> Walked<String> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.take()? {
                b'"' => return String::from_utf8(bytes).map_err(|_| NOT_UTF8),
                b'\\' => {
                    let c = self.escape()?;
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..=0x1f => return Err("a control character in a text"),
                byte => bytes.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Walked<char> {
        Ok(match self.take()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err("an unknown escape"),
        })
    }

    /// `\uXXXX`, and the second half of a surrogate pair where the first asks for it.
    fn unicode(&mut self) -> Walked<char> {
        const LONE: &str = "half of a surrogate pair";
        let first = self.hex4()?;
        let code = match first {
            0xd800..=0xdbff => {
                if (self.take()?, self.take()?) != (b'\\', b'u') {
                    return Err(LONE);
                }
                let second = self.hex4()?.checked_sub(0xdc00).filter(|low| *low < 0x400);
                0x10000 + ((first - 0xd800) << 10) + second.ok_or(LONE)?
            }
            _ => first,
        };
        char::from_u32(code).ok_or(LONE)
    }

    fn hex4(&mut self) -> Walked<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = char::from(self.take()?).to_digit(16);
            code = code * 16 + digit.ok_or("an escape that is not hexadecimal")?;
        }
        Ok(code)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self) -> Walked<u8> {
        let byte = self.peek().ok_or(EARLY_END)?;
        self.at += 1;
        Ok(byte)
    }

    /// Skips white space; the byte that follows stays unread.
    fn next_solid(&mut self) -> Option<u8> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.peek()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(text: &str) -> Outline {
        Outline::of(text.as_bytes())
    }

    #[test]
    fn the_keys_are_found_at_their_place_only() {
        let found = outline(
            r#" {"x": [{"name": "wrong"}, 1.5e3, null, true, false, {}, []], "name": "un\u0064er\ud83d\ude00lay",
                "cniVersion": "1.1.0", "ipam": {"socket": null, "socket": "\/run\/s", "deep": {"spool": "wrong"}, "spool": "/v"},
                "prevResult": {"cniVersion": "0.4.0"}} "#,
        );
        assert_eq!(found.fault, None);
        assert_eq!(found.name.as_deref(), Some("under😀lay"));
        assert_eq!(found.cni_version.as_deref(), Some("1.1.0"));
        assert_eq!(found.socket.as_deref(), Some("/run/s"));
        assert_eq!(found.spool.as_deref(), Some("/v"));
    }

    #[test]
    fn what_was_found_before_a_fault_stays_found() {
        for broken in [
            r#"{"name":"a","ipam":{"#,
            r#"{"ipam":{"socket":7},"cniVersion":[],"name":"a"}"#,
            r#"{"name":"a" "b":1}"#,
            r#"{"name":"a"} x"#,
            "{\"name\":\"a\",\"b\":\"\u{1}\"}",
            r#"{"name":"a","b":"\ud800"}"#,
            r#"{"name":"a","b":tru}"#,
        ] {
            let found = outline(broken);
            assert!(found.fault.is_some(), "{broken}");
            assert_eq!(found.name.as_deref(), Some("a"), "{broken}");
        }
        let found = Outline::of(b"{\"name\":\"a\",\"b\":\"\xff\"}");
        assert_eq!(found.fault.unwrap().why, NOT_UTF8);
    }

    #[test]
    fn the_depth_is_bounded_before_the_stack_is() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(outline(&nested(MAX_DEPTH - 1)).fault, None);
        assert_eq!(outline(&nested(MAX_DEPTH)).fault.unwrap().why, TOO_DEEP);
        assert_eq!(outline(&nested(500_000)).fault.unwrap().why, TOO_DEEP);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", " ", "[]", "null", "\"x\"", "7"] {
            assert!(outline(text).fault.is_some(), "{text:?}");
        }
    }

    #[cfg(feature = "server")]
    mod against_serde {
        use proptest::prelude::*;
        use serde_json::Value;

        use super::*;

        /// Texts that are nearly JSON more often than chance would have them.
        fn nearly_json() -> impl Strategy<Value = String> {
            let piece = prop_oneof![
                Just(r#""name":"#),
                Just(r#""ipam":"#),
                Just(r#""spool":"#),
                Just("{"),
                Just("}"),
                Just("["),
                Just("]"),
                Just(","),
                Just(":"),
                Just("\"a\""),
                Just("\"\\u00e9\""),
                Just("\"\\ud83d\\ude00\""),
                Just("\"\\ud83d\""),
                Just("null"),
                Just("true"),
                Just("-"),
                Just("1."),
                Just("-1.5e3"),
                Just("0"),
                Just(" "),
                Just("\n"),
                Just("é"),
                Just("\u{0}"),
            ];
            proptest::collection::vec(piece, 0..12)
                .prop_map(|pieces| format!("{{{}}}", pieces.concat()))
        }

        fn text_at(value: &Value, pointer: &str) -> Option<String> {
            value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
        }

        proptest! {
            #![proptest_config(ProptestConfig::with_cases(20_000))]
            #[test]
            fn what_serde_reads_is_read_alike_and_what_it_refuses_is_refused(text in nearly_json()) {
                let found = outline(&text);
                match serde_json::from_str::<Value>(&text) {
                    Ok(value) => {
                        prop_assert_eq!(&found.name, &text_at(&value, "/name"));
                        prop_assert!(found.fault.is_none_or(|fault| fault.why == NOT_A_STRING));
                    }
                    Err(_) => prop_assert!(found.fault.is_some()),
                }
            }
        }
    }
}
