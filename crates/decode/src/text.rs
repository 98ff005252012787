//! Strings with escapes.

/// Appends the value of a checked JSON string to `out`. Returns whether it is text: half a
/// surrogate pair is not, and `out` is then left as it was.
pub(crate) fn unescape(escaped: &str, out: &mut String) -> bool {
    let before = out.len();
    let mut rest = escaped;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        match escape(&rest[at + 1..]) {
            Some((character, length)) => {
                out.push(character);
                rest = &rest[at + 1 + length..];
            }
            None => {
                out.truncate(before);
                return false;
            }
        }
    }
    out.push_str(rest);
    true
}

/// The character an escape stands for, and its length after the backslash.
fn escape(rest: &str) -> Option<(char, usize)> {
    let simple = match rest.as_bytes()[0] {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(rest),
        other => char::from(other),
    };
    Some((simple, 1))
}

fn unicode(rest: &str) -> Option<(char, usize)> {
    let first = code_unit(&rest[1..])?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 5));
    }
    let low = rest.get(5..)?.strip_prefix("\\u").and_then(code_unit)?;
    let paired = (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&low);
    let code = paired.then(|| 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00))?;
    char::from_u32(code).map(|character| (character, 11))
}

fn code_unit(hex: &str) -> Option<u32> {
    u32::from_str_radix(hex.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(escaped: &str) -> Option<String> {
        let mut out = String::from("x");
        let is_text = unescape(escaped, &mut out);
        assert!(is_text || out == "x", "left as it was");
        is_text.then(|| out[1..].to_owned())
    }

    #[test]
    fn escapes_become_what_they_stand_for() {
        assert_eq!(text(r#"a\"\\\/\b\f\n\r\tz"#).unwrap(), "a\"\\/\u{8}\u{c}\n\r\tz");
        assert_eq!(text(r"\u0041\u00e9\u20AC").unwrap(), "Aé€");
        assert_eq!(text(r"\u0000").unwrap(), "\0");
    }

    #[test]
    fn a_surrogate_pair_is_one_character() {
        assert_eq!(text(r"a\ud83d\ude00b").unwrap(), "a😀b");
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        for half in [
            r"\ud83d",
            r"\ude00",
            r"\ud83dx",
            r"\ud83d\n",
            r"\ud83d\ud83d",
            r"a\ude00\ud83d",
            r"\ud83d\u0041",
        ] {
            assert_eq!(text(half), None, "{half}");
        }
    }
}
