//! The law, for a judge: **row merged with residual = the event**, as digests that can be compared
//! and added up.
//!
//! Reads JSON by itself and shares nothing with the decoder, so that the two do not err together.
//! What counts as equal: objects whatever the order of their keys, of equal keys the last, nulls as
//! absent (but null elements of arrays as elements), numbers by the value that a column could hold
//! exactly, strings by their characters however they were escaped.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use xxhash_rust::xxh3::{Xxh3, xxh3_128, xxh3_128_with_seed};

use crate::columns;

/// Arrays and objects that may be open at once: above every limit an event has had.
const DEPTH_MAX: usize = 1_024;

/// An event, as far as comparing needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event(Members);

type Members = Vec<(u128, Node)>;

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Null,
    /// Digest of a scalar or an array.
    Leaf(u128),
    /// Members by the digest of their keys: none twice, none null.
    Object(Members),
}

impl Event {
    /// The event in `payload`; none when that is no JSON object.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        Reader::new(payload).event()
    }

    /// The event that row `at` and its residual hold; none when a place is taken in both, which no
    /// event makes. `own_id` says whether `_id` holds the event's own field of that name.
    #[must_use]
    pub fn of_row(batch: &RecordBatch, at: usize, own_id: bool) -> Option<Self> {
        let mut members = Members::new();
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let of_event = !columns::is_system(field.name()) || (own_id && field.name() == columns::ID);
            if of_event && column.is_valid(at) {
                members.push((text(field.name().as_bytes()), cell(column, at)));
            }
        }
        let residual = batch.column_by_name(columns::RESIDUAL)?.as_string_opt::<i32>()?;
        if residual.is_valid(at) {
            let rest = Self::read(residual.value(at).as_bytes())?;
            merge(&mut members, rest.0)?;
        }
        Some(Self(members))
    }

    /// Its digest: equal for equal events.
    #[must_use]
    pub fn digest(&self) -> u128 {
        object(&self.0)
    }

    /// Digest of the first top-level key in which the two differ.
    fn first_difference(&self, other: &Self) -> Option<u128> {
        let lacks = |a: &Self, b: &Self| {
            a.0.iter().find(|(key, value)| find(&b.0, *key) != Some(&digest(value))).map(|(key, _)| *key)
        };
        let digests = |event: &Self| {
            Self(event.0.iter().map(|(key, value)| (*key, Node::Leaf(digest(value)))).collect())
        };
        let (a, b) = (digests(self), digests(other));
        lacks(&a, &b).or_else(|| lacks(&b, &a))
    }
}

fn find(members: &Members, key: u128) -> Option<&u128> {
    members.iter().find(|(of, _)| *of == key).and_then(|(_, value)| match value {
        Node::Leaf(digest) => Some(digest),
        _ => None,
    })
}

/// Name of the first top-level field in which row `at` is not the event; none when it is.
#[must_use]
pub fn difference(payload: &[u8], batch: &RecordBatch, at: usize, own_id: bool) -> Option<String> {
    let mut reader = Reader { names: Some(Vec::new()), ..Reader::new(payload) };
    let event = reader.event();
    let row = Event::of_row(batch, at, own_id);
    let (Some(event), Some(row)) = (event, row) else { return Some("all of it".to_owned()) };
    let key = event.first_difference(&row)?;
    let fields = batch.schema_ref().fields().iter().map(|field| field.name().clone());
    let mut names = fields.chain(reader.names.unwrap_or_default());
    Some(names.find(|name| text(name.as_bytes()) == key).unwrap_or_else(|| columns::RESIDUAL.to_owned()))
}

/// Puts `value` under `key`: of equal keys the last counts, and null is absent.
fn push(members: &mut Members, key: u128, value: Node) {
    members.retain(|(of, _)| *of != key);
    if value != Node::Null {
        members.push((key, value));
    }
}

/// Adds what is left of the event at its own places.
fn merge(members: &mut Members, rest: Members) -> Option<()> {
    for (key, value) in rest {
        match (members.iter_mut().find(|(of, _)| *of == key), value) {
            (None, value) => members.push((key, value)),
            (Some((_, Node::Object(inner))), Node::Object(rest)) => merge(inner, rest)?,
            _ => return None,
        }
    }
    Some(())
}

fn digest(node: &Node) -> u128 {
    match node {
        Node::Null => tagged(b'0', &[]),
        Node::Leaf(digest) => *digest,
        Node::Object(members) => object(members),
    }
}

/// Whatever the order of the members.
fn object(members: &Members) -> u128 {
    let sum = members.iter().fold(0_u128, |sum, (key, value)| {
        let mut pair = [0; 32];
        pair[..16].copy_from_slice(&key.to_le_bytes());
        pair[16..].copy_from_slice(&digest(value).to_le_bytes());
        sum.wrapping_add(tagged(b'm', &pair))
    });
    tagged(b'{', &sum.to_le_bytes())
}

fn array(elements: impl Iterator<Item = Node>) -> u128 {
    let mut state = Xxh3::new();
    state.update(b"[");
    elements.for_each(|element| state.update(&digest(&element).to_le_bytes()));
    state.digest128()
}

fn text(characters: &[u8]) -> u128 {
    tagged(b's', characters)
}

fn boolean(value: bool) -> u128 {
    tagged(b'b', &[u8::from(value)])
}

fn double(value: f64) -> u128 {
    tagged(b'd', &value.to_bits().to_le_bytes())
}

/// A long: as a double where one is exactly it, so that it equals the same number in a double column.
fn long(value: i64) -> u128 {
    const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
    if value.unsigned_abs() <= EXACT {
        #[expect(clippy::cast_precision_loss, reason = "below 2^53 every integer is a double")]
        return double(value as f64);
    }
    number(&value.to_string())
}

/// A number as written: the double that stands for it, or its text where none does.
fn number(written: &str) -> u128 {
    let as_text = || tagged(b'n', written.as_bytes());
    let Ok(nearest) = written.parse::<f64>() else { return as_text() };
    let is_integer = !written.contains(['.', 'e', 'E']);
    let stands = if is_integer {
        written.len() <= 15 || format!("{nearest:.0}") == written
    } else {
        let mantissa = written.split(['e', 'E']).next().unwrap_or_default();
        nearest.is_finite() && (nearest != 0.0 || !mantissa.contains(|c: char| ('1'..='9').contains(&c)))
    };
    if stands { double(nearest) } else { as_text() }
}

/// Digest of `bytes` as one kind of thing, so that things of two kinds differ.
fn tagged(tag: u8, bytes: &[u8]) -> u128 {
    xxh3_128_with_seed(bytes, tag.into())
}

/// A value out of a column.
fn cell(column: &dyn Array, at: usize) -> Node {
    if column.is_null(at) {
        return Node::Null;
    }
    match column.data_type() {
        DataType::Utf8 => Node::Leaf(text(column.as_string::<i32>().value(at).as_bytes())),
        DataType::Int64 => Node::Leaf(long(column.as_primitive::<Int64Type>().value(at))),
        DataType::Float64 => Node::Leaf(double(column.as_primitive::<Float64Type>().value(at))),
        DataType::Boolean => Node::Leaf(boolean(column.as_boolean().value(at))),
        DataType::List(_) => {
            let elements = column.as_list::<i32>().value(at);
            Node::Leaf(array((0..elements.len()).map(|at| cell(&elements, at))))
        }
        DataType::Struct(fields) => {
            let there =
                fields.iter().zip(column.as_struct().columns()).filter(|(_, inner)| inner.is_valid(at));
            Node::Object(there.map(|(of, inner)| (text(of.name().as_bytes()), cell(inner, at))).collect())
        }
        // A type that Laker never makes: it always leaves such a column null.
        other => Node::Leaf(xxh3_128(format!("a value of {other}").as_bytes())),
    }
}

/// Reads one JSON value, in the plainest way.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// All keys that were read, where they are wanted.
    names: Option<Vec<String>>,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0, names: None }
    }

    fn event(&mut self) -> Option<Event> {
        let value = self.value()?;
        self.space();
        match value {
            Node::Object(members) if self.at == self.bytes.len() => Some(Event(members)),
            _ => None,
        }
    }

    fn space(&mut self) {
        while self.bytes.get(self.at).is_some_and(|byte| b" \t\r\n".contains(byte)) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.space();
        self.bytes.get(self.at).copied()
    }

    /// Takes `byte`, if it comes next.
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn value(&mut self) -> Option<Node> {
        match self.peek()? {
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::array),
            b'"' => self.string().map(|characters| Node::Leaf(text(&characters))),
            b't' => self.word("true", Node::Leaf(boolean(true))),
            b'f' => self.word("false", Node::Leaf(boolean(false))),
            b'n' => self.word("null", Node::Null),
            _ => self.number(),
        }
    }

    fn nested(&mut self, inner: fn(&mut Self) -> Option<Node>) -> Option<Node> {
        self.depth += 1;
        let value = if self.depth <= DEPTH_MAX { inner(self) } else { None };
        self.depth -= 1;
        value
    }

    fn word(&mut self, word: &str, value: Node) -> Option<Node> {
        self.bytes[self.at..].starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            value
        })
    }

    fn number(&mut self) -> Option<Node> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(|byte| b"+-.0123456789eE".contains(byte)) {
            self.at += 1;
        }
        let written = std::str::from_utf8(&self.bytes[start..self.at]).ok()?;
        (!written.is_empty()).then(|| Node::Leaf(number(written)))
    }

    fn object(&mut self) -> Option<Node> {
        let mut members = Members::new();
        self.take(b'{')?;
        while self.peek()? != b'}' {
            let name = self.string()?;
            self.take(b':')?;
            let value = self.value()?;
            push(&mut members, text(&name), value);
            if let Some(names) = &mut self.names {
                names.push(String::from_utf8_lossy(&name).into_owned());
            }
            if self.peek()? != b'}' {
                self.take(b',')?;
            }
        }
        self.take(b'}')?;
        Some(Node::Object(members))
    }

    fn array(&mut self) -> Option<Node> {
        let mut elements = Vec::new();
        self.take(b'[')?;
        while self.peek()? != b']' {
            elements.push(self.value()?);
            if self.peek()? != b']' {
                self.take(b',')?;
            }
        }
        self.take(b']')?;
        Some(Node::Leaf(array(elements.into_iter())))
    }

    /// The characters of a string in UTF-8; half a surrogate pair, which UTF-8 has no place for, in
    /// the three bytes it would have there.
    fn string(&mut self) -> Option<Vec<u8>> {
        self.take(b'"')?;
        let mut characters = Vec::new();
        loop {
            let start = self.at;
            let length = self.bytes[start..].iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            characters.extend_from_slice(&self.bytes[start..start + length]);
            self.at = start + length + 1;
            match self.bytes[start + length] {
                b'"' => return Some(characters),
                _ => self.escape(&mut characters)?,
            }
        }
    }

    fn escape(&mut self, characters: &mut Vec<u8>) -> Option<()> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        let plain = match byte {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let unit = self.unit()?;
                return self.unicode(unit, characters);
            }
            other => other,
        };
        characters.push(plain);
        Some(())
    }

    /// The four hexadecimal digits that come next.
    fn unit(&mut self) -> Option<u32> {
        let hex = std::str::from_utf8(self.bytes.get(self.at..self.at + 4)?).ok()?;
        self.at += 4;
        u32::from_str_radix(hex, 16).ok()
    }

    fn unicode(&mut self, unit: u32, characters: &mut Vec<u8>) -> Option<()> {
        if let Some(character) = char::from_u32(unit) {
            characters.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(());
        }
        let before = self.at;
        if (0xd800..0xdc00).contains(&unit) && self.bytes[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let low = self.unit()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                let character = char::from_u32(code)?;
                characters.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Some(());
            }
            self.at = before;
        }
        // Each is cut to the bits that its byte holds.
        let bytes = [0xe0 | unit >> 12, 0x80 | unit >> 6 & 0x3f, 0x80 | unit & 0x3f];
        characters.extend(bytes.map(|byte| byte as u8));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(event: &str) -> u128 {
        Event::read(event.as_bytes()).unwrap_or_else(|| panic!("{event} is an event")).digest()
    }

    #[test]
    fn equal_events_have_equal_digests() {
        for (a, b) in [
            (r#"{"a":1,"b":[true,null]}"#, r#" { "b" : [ true , null ] , "a" : 1 } "#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"a":1,"a":null}"#, "{}"),
            (r#"{"a":null}"#, "{}"),
            (r#"{"a":"\u0041\ud83d\ude00"}"#, r#"{"a":"A😀"}"#),
            (r#"{"a":0.1}"#, r#"{"a":0.10}"#),
            (r#"{"a":1e2}"#, r#"{"a":100}"#),
        ] {
            assert_eq!(digest_of(a), digest_of(b), "{a} {b}");
        }
    }

    #[test]
    fn each_kind_of_loss_changes_the_digest() {
        for (a, b) in [
            (r#"{"a":1}"#, "{}"),
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            (r#"{"a":[1]}"#, r#"{"a":[1,null]}"#),
            (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
            (r#"{"a":{}}"#, "{}"),
            (r#"{"a":{"b":1}}"#, r#"{"b":{"a":1}}"#),
            (r#"{"a":"\ud800"}"#, "{\"a\":\"\u{fffd}\"}"),
            (r#"{"a":9007199254740993}"#, r#"{"a":9007199254740992}"#),
            (r#"{"a":1e400}"#, r#"{"a":1e401}"#),
            (r#"{"a":1e-400}"#, r#"{"a":0}"#),
            (r#"{"a":-0.0}"#, r#"{"a":0.0}"#),
        ] {
            assert_ne!(digest_of(a), digest_of(b), "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_event_is_none() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        for text in ["", "[]", "1", "{", r#"{"a"}"#, r#"{"a":1"#, r#"{"a":1} x"#, r#"{"a":"\u12"}"#, &deep] {
            assert_eq!(Event::read(text.as_bytes()), None, "{text}");
        }
    }
}
