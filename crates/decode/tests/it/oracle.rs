//! The judge: reads JSON in the plainest way, shares no code with the decoder, and knows the law.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;

/// A JSON value. Strings are UTF-16, so that half a surrogate pair has a value too.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// A number as written.
    Number(String),
    /// A number out of a `double` column.
    Double(f64),
    String(Vec<u16>),
    Array(Vec<Json>),
    /// Of equal keys the last counts. Null members are left out: they count as absent.
    Object(BTreeMap<Vec<u16>, Json>),
}

impl Json {
    pub fn read(text: &str) -> Self {
        let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
        let value = reader.value();
        reader.space();
        assert_eq!(reader.at, text.len(), "one value: {text}");
        value
    }

    fn members(self) -> BTreeMap<Vec<u16>, Json> {
        match self {
            Self::Object(members) => members,
            other => panic!("an object, not {other:?}"),
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn space(&mut self) {
        while self.at < self.bytes.len() && b" \t\r\n".contains(&self.bytes[self.at]) {
            self.at += 1;
        }
    }

    fn take(&mut self) -> u8 {
        self.at += 1;
        self.bytes[self.at - 1]
    }

    fn peek(&mut self) -> u8 {
        self.space();
        self.bytes[self.at]
    }

    fn value(&mut self) -> Json {
        match self.peek() {
            b'{' => self.object(),
            b'[' => self.array(),
            b'"' => Json::String(self.string()),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            _ => {
                let start = self.at;
                while self.at < self.bytes.len() && b"+-.0123456789eE".contains(&self.bytes[self.at]) {
                    self.at += 1;
                }
                assert!(self.at > start, "a number");
                Json::Number(String::from_utf8(self.bytes[start..self.at].to_vec()).unwrap())
            }
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Json {
        assert!(self.bytes[self.at..].starts_with(word.as_bytes()));
        self.at += word.len();
        value
    }

    fn object(&mut self) -> Json {
        let mut members = BTreeMap::new();
        self.take();
        while self.peek() != b'}' {
            let key = self.string();
            assert_eq!(self.peek(), b':');
            self.take();
            let value = self.value();
            members.insert(key, value);
            if self.peek() == b',' {
                self.take();
                self.space();
            }
        }
        self.take();
        members.retain(|_, value| *value != Json::Null);
        Json::Object(members)
    }

    fn array(&mut self) -> Json {
        let mut elements = Vec::new();
        self.take();
        while self.peek() != b']' {
            elements.push(self.value());
            if self.peek() == b',' {
                self.take();
            }
        }
        self.take();
        Json::Array(elements)
    }

    fn string(&mut self) -> Vec<u16> {
        let mut units = Vec::new();
        let mut plain = Vec::new();
        assert_eq!(self.take(), b'"');
        loop {
            let byte = self.take();
            if byte == b'"' || byte == b'\\' {
                units.extend(std::str::from_utf8(&plain).unwrap().encode_utf16());
                plain.clear();
            }
            match byte {
                b'"' => return units,
                b'\\' => units.push(self.escape()),
                other => plain.push(other),
            }
        }
    }

    fn escape(&mut self) -> u16 {
        match self.take() {
            b'b' => 8,
            b'f' => 12,
            b'n' => 10,
            b'r' => 13,
            b't' => 9,
            b'u' => {
                let hex = std::str::from_utf8(&self.bytes[self.at..self.at + 4]).unwrap();
                self.at += 4;
                u16::from_str_radix(hex, 16).unwrap()
            }
            other => u16::from(other),
        }
    }
}

const SYSTEM: [&str; 7] =
    ["_partition", "_offset", "_received_at", "_time", "_id", "_residual", "event_date"];

/// A value out of a column, as JSON.
fn cell(array: &dyn Array, row: usize) -> Json {
    if array.is_null(row) {
        return Json::Null;
    }
    match array.data_type() {
        DataType::Utf8 => Json::String(array.as_string::<i32>().value(row).encode_utf16().collect()),
        DataType::Int64 => Json::Number(array.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::Float64 => Json::Double(array.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => Json::Bool(array.as_boolean().value(row)),
        DataType::List(_) => {
            let elements = array.as_list::<i32>().value(row);
            Json::Array((0..elements.len()).map(|at| cell(&elements, at)).collect())
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let members =
                columns.map(|(field, column)| (field.name().encode_utf16().collect(), cell(column, row)));
            Json::Object(members.filter(|(_, value)| *value != Json::Null).collect())
        }
        other => panic!("no value of ours is {other}"),
    }
}

/// The event's columns of a row, as a JSON object. `_id` is one when the event's own `_id` fills it.
pub fn row(batch: &RecordBatch, row: usize, own_id: bool) -> Json {
    let fields = batch.schema();
    let columns = fields.fields().iter().zip(batch.columns());
    let of_event = columns
        .filter(|(field, _)| !SYSTEM.contains(&field.name().as_str()) || (own_id && field.name() == "_id"));
    let members = of_event.map(|(field, column)| (field.name().encode_utf16().collect(), cell(column, row)));
    Json::Object(members.filter(|(_, value)| *value != Json::Null).collect())
}

/// `_residual` of a row.
pub fn residual(batch: &RecordBatch, row: usize) -> Option<&str> {
    let column = batch.column_by_name("_residual").unwrap().as_string::<i32>();
    column.is_valid(row).then(|| column.value(row))
}

/// Panics unless row merged with residual is the event.
pub fn uphold(event: &str, batch: &RecordBatch, at: usize, own_id: bool) {
    let rest = residual(batch, at).map_or_else(|| Json::Object(BTreeMap::new()), Json::read);
    let merged = merge(row(batch, at, own_id), rest);
    assert!(same(&Json::read(event), &merged), "event {event}\nrow and residual {merged:?}");
}

/// Both at once; a place that is taken in both is an error.
fn merge(row: Json, residual: Json) -> Json {
    let mut members = row.members();
    for (key, value) in residual.members() {
        let merged = match members.remove(&key) {
            Some(inner @ Json::Object(_)) if matches!(value, Json::Object(_)) => merge(inner, value),
            None => value,
            Some(taken) => panic!("{key:?} is {taken:?} in the row and {value:?} in the residual"),
        };
        members.insert(key, merged);
    }
    Json::Object(members)
}

fn same(event: &Json, merged: &Json) -> bool {
    match (event, merged) {
        (Json::Number(written), Json::Double(double)) => is_number(written, *double),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same(a, b))
        }
        (event, merged) => event == merged,
    }
}

/// Whether `double` stands for the number written: exactly for integers, the nearest for others.
fn is_number(written: &str, double: f64) -> bool {
    if written.contains(['.', 'e', 'E']) {
        written.parse::<f64>().unwrap().to_bits() == double.to_bits()
    } else {
        format!("{double:.0}") == *written
    }
}

/// JSON text of a value, for examples. Keys in the order of their code units.
pub fn show(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Number(written) => written.clone(),
        Json::Double(value) => format!("{value:?}"),
        Json::String(units) => serde_json::to_string(&String::from_utf16(units).unwrap()).unwrap(),
        Json::Array(elements) => format!("[{}]", elements.iter().map(show).collect::<Vec<_>>().join(",")),
        Json::Object(members) => {
            let member = |(key, value): (&Vec<u16>, &Json)| {
                format!("{}:{}", show(&Json::String(key.clone())), show(value))
            };
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        }
    }
}

#[test]
fn the_judge_reads_json_as_serde_json_does() {
    let text =
        r#" {"a":[1,-2.5e3,{}],"b\u00e9\n":"x\\\"y😀\ud83d\ude00","c":{"d":true,"e":null},"c2":false} "#;
    let theirs: serde_json::Value = serde_json::from_str(text).unwrap();
    let shown: serde_json::Value = serde_json::from_str(&show(&Json::read(text))).unwrap();
    let mut without_null = theirs;
    without_null["c"].as_object_mut().unwrap().remove("e");
    assert_eq!(shown, without_null);
}

#[test]
fn the_judge_sees_each_kind_of_loss() {
    let differ = |event: &str, merged: Json| assert!(!same(&Json::read(event), &merged), "{event}");
    differ("{\"a\":1}", Json::read("{}"));
    differ("{}", Json::read("{\"a\":1}"));
    differ("{\"a\":1.0}", Json::read("{\"a\":1}"));
    differ("{\"a\":[1]}", Json::read("{\"a\":[1,null]}"));
    differ("{\"a\":\"1\"}", Json::read("{\"a\":1}"));
    differ("{\"a\":\"\\ud800\"}", Json::read("{\"a\":\"\u{fffd}\"}"));
    assert!(!same(&Json::Number("9007199254740993".into()), &Json::Double(9007199254740992.0)));
    assert!(!same(&Json::Number("-0".into()), &Json::Double(0.0)));
    assert!(same(&Json::Number("0.1".into()), &Json::Double(0.1)));
}
