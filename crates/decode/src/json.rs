//! Strict JSON (RFC 8259) over bytes, without recursion: one pass that checks and finds ends.
//!
//! What is checked is the grammar. That the bytes are UTF-8 is checked by [`crate::check_event`],
//! so that one broken event in an array does not hide where its neighbours begin.

/// Why bytes are not JSON, and at which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Something else was needed at this place.
    #[error("byte {at}: expected {expected}")]
    Syntax {
        /// Index of the byte, from the beginning of the slice given.
        at: usize,
        /// What would have been right.
        expected: &'static str,
    },
    /// Arrays and objects are nested deeper than allowed.
    #[error("byte {at}: nested deeper than {depth_max}")]
    TooDeep {
        /// Index of the bracket that is one too many.
        at: usize,
        /// Arrays and objects that may be open at once.
        depth_max: usize,
    },
}

/// Index of the first byte at or after `pos` that is not JSON white space.
#[must_use]
pub fn skip_whitespace(bytes: &[u8], mut pos: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(pos) {
        pos += 1;
    }
    pos
}

/// Checks the one JSON value that begins at `pos`, white space before it allowed, and returns the
/// index after its last byte. What follows is not looked at. Stack use does not grow with nesting.
///
/// # Errors
/// [`JsonError`] where the value breaks the grammar, ends early, or has more than `depth_max`
/// arrays and objects open at once.
pub fn skip_value(bytes: &[u8], pos: usize, depth_max: usize) -> Result<usize, JsonError> {
    scan(bytes, pos, depth_max, &mut ())
}

/// What a scanned value is, as far as its text shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    /// A string without escapes: its text is its value.
    Text,
    /// A string with at least one escape.
    Escaped,
    /// A number of digits only, perhaps with a minus sign.
    Integer,
    /// A number with a fraction or an exponent.
    Decimal,
    True,
    False,
    Null,
}

/// Takes what [`scan`] finds, in the order of the bytes. Keys arrive as strings before their values.
pub(crate) trait Sink {
    fn open(&mut self, kind: Kind, start: usize);
    fn close(&mut self, end: usize);
    fn scalar(&mut self, kind: Kind, start: usize, end: usize);
}

impl Sink for () {
    fn open(&mut self, _: Kind, _: usize) {}
    fn close(&mut self, _: usize) {}
    fn scalar(&mut self, _: Kind, _: usize, _: usize) {}
}

/// As [`skip_value`], and tells `sink` what it sees.
pub(crate) fn scan<S: Sink>(
    bytes: &[u8],
    pos: usize,
    depth_max: usize,
    sink: &mut S,
) -> Result<usize, JsonError> {
    let mut nest = Nest::default();
    let mut pos = skip_whitespace(bytes, pos);
    loop {
        pos = match bytes.get(pos) {
            Some(b'{') => {
                nest.open(true, pos, depth_max)?;
                sink.open(Kind::Object, pos);
                let next = skip_whitespace(bytes, pos + 1);
                if bytes.get(next) != Some(&b'}') {
                    pos = key(bytes, next, "a key or '}'", sink)?;
                    continue;
                }
                nest.close();
                sink.close(next + 1);
                next + 1
            }
            Some(b'[') => {
                nest.open(false, pos, depth_max)?;
                sink.open(Kind::Array, pos);
                let next = skip_whitespace(bytes, pos + 1);
                if bytes.get(next) != Some(&b']') {
                    pos = next;
                    continue;
                }
                nest.close();
                sink.close(next + 1);
                next + 1
            }
            _ => scalar(bytes, pos, sink)?,
        };
        match after_value(bytes, pos, &mut nest, sink)? {
            After::Done(end) => return Ok(end),
            After::Value(next) => pos = next,
        }
    }
}

enum After {
    Done(usize),
    Value(usize),
}

/// Closes what ends here, and finds where the next value begins.
fn after_value<S: Sink>(
    bytes: &[u8],
    mut pos: usize,
    nest: &mut Nest,
    sink: &mut S,
) -> Result<After, JsonError> {
    loop {
        let Some(in_object) = nest.in_object() else { return Ok(After::Done(pos)) };
        pos = skip_whitespace(bytes, pos);
        match (bytes.get(pos), in_object) {
            (Some(b','), true) => {
                let next = skip_whitespace(bytes, pos + 1);
                return key(bytes, next, "a key", sink).map(After::Value);
            }
            (Some(b','), false) => return Ok(After::Value(skip_whitespace(bytes, pos + 1))),
            (Some(b'}'), true) | (Some(b']'), false) => {
                pos += 1;
                nest.close();
                sink.close(pos);
            }
            (_, true) => return syntax(pos, "',' or '}'"),
            (_, false) => return syntax(pos, "',' or ']'"),
        }
    }
}

/// Scans a key and its colon; returns where its value begins.
fn key<S: Sink>(bytes: &[u8], pos: usize, expected: &'static str, sink: &mut S) -> Result<usize, JsonError> {
    if bytes.get(pos) != Some(&b'"') {
        return syntax(pos, expected);
    }
    let end = string(bytes, pos, sink)?;
    let colon = skip_whitespace(bytes, end);
    if bytes.get(colon) != Some(&b':') {
        return syntax(colon, "':'");
    }
    Ok(skip_whitespace(bytes, colon + 1))
}

fn scalar<S: Sink>(bytes: &[u8], pos: usize, sink: &mut S) -> Result<usize, JsonError> {
    match bytes.get(pos) {
        Some(b'"') => string(bytes, pos, sink),
        Some(b'-' | b'0'..=b'9') => number(bytes, pos, sink),
        Some(b't') => word(bytes, pos, b"true", Kind::True, sink),
        Some(b'f') => word(bytes, pos, b"false", Kind::False, sink),
        Some(b'n') => word(bytes, pos, b"null", Kind::Null, sink),
        _ => syntax(pos, "a value"),
    }
}

fn word<S: Sink>(
    bytes: &[u8],
    pos: usize,
    word: &'static [u8],
    kind: Kind,
    sink: &mut S,
) -> Result<usize, JsonError> {
    if !bytes[pos..].starts_with(word) {
        return syntax(pos, "true, false or null");
    }
    sink.scalar(kind, pos, pos + word.len());
    Ok(pos + word.len())
}

/// Scans the string whose opening quote is at `start`.
fn string<S: Sink>(bytes: &[u8], start: usize, sink: &mut S) -> Result<usize, JsonError> {
    let mut kind = Kind::Text;
    let mut pos = start + 1;
    loop {
        pos = plain_end(bytes, pos);
        match bytes.get(pos) {
            Some(b'"') => {
                sink.scalar(kind, start, pos + 1);
                return Ok(pos + 1);
            }
            Some(b'\\') => {
                kind = Kind::Escaped;
                pos = escape(bytes, pos)?;
            }
            Some(_) => return syntax(pos, "an escape instead of a control character"),
            None => return syntax(pos, "the end of the string"),
        }
    }
}

/// Index of the first quote, backslash or control character at or after `pos`, eight bytes at a time.
fn plain_end(bytes: &[u8], mut pos: usize) -> usize {
    while let Some(chunk) = bytes.get(pos..).and_then(|rest| rest.first_chunk::<8>()) {
        let special = special_bytes(u64::from_le_bytes(*chunk));
        if special != 0 {
            return pos + (special.trailing_zeros() / 8) as usize;
        }
        pos += 8;
    }
    while bytes.get(pos).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        pos += 1;
    }
    pos
}

/// The high bit of each byte that ends plain text. Exact up to the lowest one set: the borrow of
/// the subtractions only spoils bytes above a true one.
/// <https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord>
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let is_quote = quote.wrapping_sub(ONES) & !quote;
    let is_backslash = backslash.wrapping_sub(ONES) & !backslash;
    let is_control = word.wrapping_sub(ONES * 0x20) & !word;
    (is_quote | is_backslash | is_control) & HIGH
}

/// Scans the escape whose backslash is at `pos`.
fn escape(bytes: &[u8], pos: usize) -> Result<usize, JsonError> {
    match bytes.get(pos + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(pos + 2),
        Some(b'u') => match bytes.get(pos + 2..pos + 6) {
            Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => Ok(pos + 6),
            _ => syntax(pos, "four hexadecimal digits after \\u"),
        },
        _ => syntax(pos, "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u"),
    }
}

fn number<S: Sink>(bytes: &[u8], start: usize, sink: &mut S) -> Result<usize, JsonError> {
    let first = start + usize::from(bytes[start] == b'-');
    let mut pos = digits(bytes, first)?;
    if bytes[first] == b'0' && pos > first + 1 {
        return syntax(first + 1, "no digit after a leading zero");
    }
    let mut kind = Kind::Integer;
    if bytes.get(pos) == Some(&b'.') {
        kind = Kind::Decimal;
        pos = digits(bytes, pos + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(pos) {
        kind = Kind::Decimal;
        let signed = matches!(bytes.get(pos + 1), Some(b'+' | b'-'));
        pos = digits(bytes, pos + 1 + usize::from(signed))?;
    }
    sink.scalar(kind, start, pos);
    Ok(pos)
}

/// Scans at least one digit.
fn digits(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let mut pos = start;
    while bytes.get(pos).is_some_and(u8::is_ascii_digit) {
        pos += 1;
    }
    if pos == start { syntax(pos, "a digit") } else { Ok(pos) }
}

fn syntax<T>(at: usize, expected: &'static str) -> Result<T, JsonError> {
    Err(JsonError::Syntax { at, expected })
}

/// Which of the open brackets are objects: one bit each, 64 of them without an allocation.
#[derive(Default)]
struct Nest {
    depth: usize,
    word: u64,
    full_words: Vec<u64>,
}

impl Nest {
    fn open(&mut self, object: bool, at: usize, depth_max: usize) -> Result<(), JsonError> {
        if self.depth >= depth_max {
            return Err(JsonError::TooDeep { at, depth_max });
        }
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.full_words.push(self.word);
        }
        self.word = self.word << 1 | u64::from(object);
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.word >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.word = self.full_words.pop().expect("a word was pushed when this depth was passed");
        }
    }

    /// Whether the innermost bracket is an object's; `None` outside of all.
    fn in_object(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.word & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(text: &str) -> Result<usize, JsonError> {
        skip_value(text.as_bytes(), 0, 100)
    }

    #[test]
    fn a_value_ends_where_it_ends() {
        for value in ["{}", "[]", "[1,[2,{\"a\":[]}]]", "\"a\\\"b\"", "-0.5e+7", "0", "true", "null"] {
            assert_eq!(skip(value), Ok(value.len()), "{value}");
            assert_eq!(skip(&format!("  {value} , 1")), Ok(value.len() + 2), "{value}");
        }
    }

    #[test]
    fn what_the_grammar_forbids_is_refused_at_its_byte() {
        for (text, at) in [
            ("", 0),
            ("[1,]", 3),
            ("{\"a\":1,}", 7),
            ("{\"a\" 1}", 5),
            ("{a:1}", 1),
            ("[1 2]", 3),
            ("01", 1),
            ("-", 1),
            ("1.", 2),
            (".5", 0),
            ("1e", 2),
            ("+1", 0),
            ("nul", 0),
            ("NaN", 0),
            ("'a'", 0),
            ("\"a", 2),
            ("\"\t\"", 1),
            ("\"aaaaaaaaaa\u{1f}\"", 11),
            ("\"\\x\"", 1),
            ("\"\\u12G4\"", 1),
            ("[1}", 2),
            ("{\"a\":1]", 6),
            ("\u{feff}{}", 0),
        ] {
            let got = skip(text).unwrap_err();
            assert!(matches!(got, JsonError::Syntax { at: found, .. } if found == at), "{text}: {got}");
        }
    }

    #[test]
    fn ten_thousand_levels_need_no_stack() {
        let deep = format!("{}{}", "[{\"a\":".repeat(5_000), "1") + &"}]".repeat(5_000);
        assert_eq!(skip_value(deep.as_bytes(), 0, 10_000), Ok(deep.len()));
        let refused = skip_value(deep.as_bytes(), 0, 9_999).unwrap_err();
        assert!(matches!(refused, JsonError::TooDeep { depth_max: 9_999, .. }));
    }

    #[test]
    fn the_eight_byte_step_finds_every_special_byte_and_no_other() {
        for byte in 0..=255_u8 {
            for place in 0..8 {
                let mut chunk = [b'a'; 8];
                chunk[place] = byte;
                let special = special_bytes(u64::from_le_bytes(chunk));
                let wanted = matches!(byte, b'"' | b'\\' | 0..=0x1f);
                assert_eq!(special != 0, wanted, "{byte} at {place}");
                if wanted {
                    assert_eq!(special.trailing_zeros() as usize / 8, place);
                }
            }
        }
    }
}
