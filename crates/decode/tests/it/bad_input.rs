//! Payloads that are no events, and events at the limits: each a clear answer, neighbours intact.

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int64Type};
use decode::{DecodeError, DecodeOptions, Decoder, EventLimits, check_event, columns};
use event::{Offset, RecordsBuilder, TimestampMicros, limits};

use crate::oracle::uphold;
use crate::table::{P0, RECEIVED_AT, Table, records};

fn code(payload: &[u8]) -> &'static str {
    check_event(payload, EventLimits::default()).map_or_else(|reason| reason.code(), |()| "event")
}

/// What the JSON parsing test suite (<https://github.com/nst/JSONTestSuite>) calls `n_`: to be refused.
const REFUSED: &[&[u8]] = &[
    b"[1 true]",
    b"[\"\": 1]",
    b"[\"\"],",
    b"[,1]",
    b"[1,,2]",
    b"[\"x\",,]",
    b"[\"x\"]]",
    b"[\"\",]",
    b"[\"x\"",
    b"[x",
    b"[3[4]]",
    b"[1:2]",
    b"[,]",
    b"[-]",
    b"[   , \"\"]",
    b"[\"a\",\n4\n,1,",
    b"[1,]",
    b"[\"\x0ba\"\\f]",
    b"[*]",
    b"[\"\"",
    b"[1,\n1\n,1",
    b"[{}",
    b"[fals]",
    b"[nul]",
    b"[tru]",
    b"[++1234]",
    b"[+1]",
    b"[+Inf]",
    b"[-01]",
    b"[-1.0.]",
    b"[-2.]",
    b"[-NaN]",
    b"[.-1]",
    b"[.2e-3]",
    b"[0.1.2]",
    b"[0.3e+]",
    b"[0.3e]",
    b"[0.e1]",
    b"[0E+]",
    b"[0E]",
    b"[0e+]",
    b"[0e]",
    b"[1.0e+]",
    b"[1.0e-]",
    b"[1.0e]",
    b"[1 000.0]",
    b"[1eE2]",
    b"[2.e+3]",
    b"[2.e-3]",
    b"[2.e3]",
    b"[9.e+]",
    b"[Inf]",
    b"[NaN]",
    b"[1+2]",
    b"[0x1]",
    b"[0x42]",
    b"[Infinity]",
    b"[0e+-1]",
    b"[-123.123foo]",
    b"[123\xe5]",
    b"[1e1\xe5]",
    b"[0\xe5]\n",
    b"[-Infinity]",
    b"[-foo]",
    b"[- 1]",
    b"[-012]",
    b"[-.123]",
    b"[-1x]",
    b"[1ea]",
    b"[1.]",
    b"[.123]",
    b"[1.2a-3]",
    b"[1.8011670033376514H-308]",
    b"[012]",
    b"[\"x\", truth]",
    b"{[: \"x\"}\n",
    b"{\"x\", null}",
    b"{\"x\"::\"b\"}",
    b"{\"a\":\"a\" 123}",
    b"{key: 'value'}",
    b"{\"a\" b}",
    b"{:\"b\"}",
    b"{\"a\" \"b\"}",
    b"{\"a\":",
    b"{\"a\"",
    b"{1:1}",
    b"{9999E9999:1}",
    b"{null:null,null:null}",
    b"{\"id\":0,,,,,}",
    b"{'a':0}",
    b"{\"id\":0,}",
    b"{\"a\":\"b\"}/**/",
    b"{\"a\":\"b\"}/**//",
    b"{\"a\":\"b\"}//",
    b"{\"a\":\"b\"}/",
    b"{\"a\":\"b\",,\"c\":\"d\"}",
    b"{a: \"b\"}",
    b"{\"a\":\"a",
    b"{ \"foo\" : \"bar\", \"a\" }",
    b"{\"a\":\"b\"}#",
    b"[\"\\uD800\\\"]",
    b"[\"\\uD800\\u\"]",
    b"[\"\\uD800\\u1\"]",
    b"[\"\\uD800\\u1x\"]",
    b"[\xc3\xa9]",
    b"[\"\\\x00\"]",
    b"[\"\\\\\\\"]",
    b"[\"\\\t\"]",
    b"[\"\\\xf0\x9f\x8c\x80\"]",
    b"[\"\\x00\"]",
    b"[\"\\\"]",
    b"[\"\\u00A\"]",
    b"[\"\\uD834\\uDd\"]",
    b"[\"\\uD800\\uD800\\x\"]",
    b"[\"\\a\"]",
    b"[\"\\uqqqq\"]",
    b"[\"\\\xe5\"]",
    b"[\\u0020\"asd\"]",
    b"[\\n]",
    b"\"",
    b"['single quote']",
    b"abc",
    b"[\"\\",
    b"[\"a\x00a\"]",
    b"[\"new\nline\"]",
    b"[\"\t\"]",
    b"\"\\UA66D\"",
    b"\"\"x",
    b"<.>",
    b"[<null>]",
    b"[1]x",
    b"[1]]",
    b"[\"asd]",
    b"a\xc3\xa5",
    b"[True]",
    b"1]",
    b"{\"x\": true,",
    b"[][]",
    b"]",
    b"\xef\xbb\xbf{}",
    b"\xe5",
    b"[",
    b"[\"a",
    b"[\"a\"",
    b"2@",
    b"{}}",
    b"{\"\":",
    b"{\"a\":/*comment*/\"b\"}",
    b"{\"a\": true} \"x\"",
    b"['",
    b"[,",
    b"[{",
    b"{",
    b"{]",
    b"{,",
    b"{[",
    b"{\"a",
    b"{'a'",
    b"[\"\\{[\"\\{[\"\\{[\"\\{",
    b"*",
    b"{\"a\":\"b\"}#{}",
    b"[\\u000A\"\"]",
    b"[1",
    b"[ false, nul",
    b"[ true, fals",
    b"[ false, tru",
    b"{\"asd\":\"asd\"",
    b"\xc3\xa5",
    b"[\xe2\x81\xa0]",
    b"[\x0c]",
];

/// What it calls `y_`: to be accepted.
const ACCEPTED: &[&str] = &[
    "[[]   ]",
    "[\"\"]",
    "[]",
    "[\"a\"]",
    "[false]",
    "[null, 1, \"1\", {}]",
    "[null]",
    "[1\n]",
    " [1]",
    "[1,null,null,null,2]",
    "[2] ",
    "[123e65]",
    "[0e+1]",
    "[0e1]",
    "[ 4]",
    "[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]\n",
    "[20e1]",
    "[-0]",
    "[-123]",
    "[-1]",
    "[1E22]",
    "[1E-2]",
    "[1E+2]",
    "[123e45]",
    "[123.456e78]",
    "[1e-2]",
    "[1e+2]",
    "[123]",
    "[123.456789]",
    "{\"asd\":\"sdf\", \"dfg\":\"fgh\"}",
    "{\"asd\":\"sdf\"}",
    "{\"a\":\"b\",\"a\":\"c\"}",
    "{\"a\":\"b\",\"a\":\"b\"}",
    "{}",
    "{\"\":0}",
    "{\"foo\\u0000bar\": 42}",
    "{ \"min\": -1.0e+28, \"max\": 1.0e+28 }",
    "{\"x\":[{\"id\": \"xxxx\"}], \"id\": \"xxxx\"}",
    "{\"a\":[]}",
    "{\n\"a\": \"b\"\n}",
    "[\"\\u0060\\u012a\\u12AB\"]",
    "[\"\\uD801\\udc37\"]",
    "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
    "[\"\\\\u0000\"]",
    "[\"a/*b*/c/*d//e\"]",
    "[\"\\\\a\"]",
    "[\"\\u0012\"]",
    "[\"\\uFFFF\"]",
    "[\"asd\"]",
    "[ \"asd\"]",
    "[\"\u{10ffff}\"]",
    "[\"\\u0000\"]",
    "[\"π\"]",
    "[\"asd \"]",
    "\" \"",
    "[\"\u{2028}\"]",
    "[\"€𝄞\"]",
    "[\"aa\u{7f}a\"]",
    "false",
    "42",
    "-0.1",
    "null",
    "\"asd\"",
    "true",
    "\"\"",
    "[\"a\"]\n",
    "[true]",
    " [] ",
];

#[test]
fn json_that_is_none_is_refused_and_json_that_is_is_taken() {
    for text in REFUSED {
        let wrapped = [b"{\"a\":", *text, b"}"].concat();
        for payload in [*text, &wrapped[..]] {
            let got = code(payload);
            assert!(
                got == "invalid_json" || got == "invalid_utf8",
                "{:?} is {got}",
                String::from_utf8_lossy(payload)
            );
        }
    }
    for text in ACCEPTED {
        let is_object = text.trim_start().starts_with('{');
        assert_eq!(code(text.as_bytes()), if is_object { "event" } else { "not_an_object" }, "{text}");
        assert_eq!(code(format!("{{\"a\":{text}}}").as_bytes()), "event", "{text}");
        Table::of(&[]).land(&format!("{{\"a\":{text}}}"));
    }
}

#[test]
fn each_dead_letter_keeps_its_bytes_and_reason_and_its_neighbours_land() {
    let payloads: [&[u8]; 9] = [
        b"{\"a\":1}",
        b"",
        b"  ",
        b"{\"a\":1",
        b"{\"a\":\"\xff\"}",
        b"[1]",
        b"\"{}\"",
        b"{\"a\":2} x",
        b"{\"a\":3}",
    ];
    let table = Table::of(&[r#"{"a":0}"#]);
    let decoded = table.decode(&records(10, payloads));
    assert_eq!(decoded.rows["a"].as_primitive::<Int64Type>().values(), &[1, 3]);
    assert_eq!(decoded.rows["_offset"].as_primitive::<Int64Type>().values(), &[10, 18]);
    let dead = decoded.dead.unwrap();
    assert_eq!(dead.schema(), columns::dead_letter_schema());
    assert_eq!(dead["_offset"].as_primitive::<Int64Type>().values(), &[11, 12, 13, 14, 15, 16, 17]);
    let reasons: Vec<_> = dead["reason"].as_string::<i32>().iter().flatten().collect();
    let wanted =
        ["empty", "empty", "invalid_json", "invalid_utf8", "not_an_object", "not_an_object", "invalid_json"];
    assert_eq!(reasons, wanted);
    let raw: Vec<_> = dead["raw"].as_binary::<i32>().iter().flatten().collect();
    assert_eq!(raw, &payloads[1..8]);
    assert_eq!(dead["detail"].as_string::<i32>().value(3), "byte 6: not UTF-8");
    assert!(dead["event_date"].as_primitive::<Date32Type>().iter().all(|day| day == Some(19_787)));
}

#[test]
fn a_batch_of_nothing_but_dead_letters_has_no_rows() {
    let decoded = Table::of(&[r#"{"a":0}"#]).decode(&records(0, ["x", "y"]));
    assert_eq!((decoded.rows.num_rows(), decoded.dead.unwrap().num_rows()), (0, 2));
}

#[test]
fn tombstones_are_skipped_and_counted_and_empty_values_are_dead() {
    let mut builder = RecordsBuilder::new();
    for (offset, payload) in (0..).zip([None, Some(&b"{}"[..]), None, Some(&b""[..])]) {
        builder.push(Offset(offset), TimestampMicros(RECEIVED_AT), payload);
    }
    let decoded = Table::of(&[]).decode(&builder.finish());
    assert_eq!((decoded.skipped_count, decoded.rows.num_rows()), (2, 1));
    assert_eq!(decoded.dead.unwrap()["reason"].as_string::<i32>().value(0), "empty");
}

#[test]
fn an_event_without_fields_is_a_row() {
    let decoded = Table::of(&[]).decode(&records(0, ["{}", "{ }"]));
    assert_eq!(decoded.rows.num_rows(), 2);
}

#[test]
fn nesting_beyond_the_limit_is_dead_and_at_the_limit_lands() {
    let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert_eq!(code(nested(limits::EVENT_DEPTH_MAX).as_bytes()), "event");
    assert_eq!(code(nested(limits::EVENT_DEPTH_MAX + 1).as_bytes()), "too_deep");
    assert_eq!(code(nested(10_000).as_bytes()), "too_deep");
    assert_eq!(code("{\"a\":".repeat(10_000).as_bytes()), "too_deep");
    Table::of(&[]).land(&nested(limits::EVENT_DEPTH_MAX));
    let objects =
        format!("{}1{}", "{\"a\":".repeat(limits::EVENT_DEPTH_MAX), "}".repeat(limits::EVENT_DEPTH_MAX));
    Table::of(&[]).land(&objects);
}

#[test]
fn columns_as_deep_as_events_still_work() {
    let options = DecodeOptions { depth_max: limits::EVENT_DEPTH_MAX, ..DecodeOptions::default() };
    let objects =
        format!("{}1{}", "{\"a\":".repeat(limits::EVENT_DEPTH_MAX), "}".repeat(limits::EVENT_DEPTH_MAX));
    let arrays = format!("{{\"b\":{}1{}}}", "[".repeat(127), "]".repeat(127));
    let mut table = Table::new(options).with(&[&objects, &arrays]);
    assert_eq!(table.land(&objects).1, None);
    assert_eq!(table.land(&arrays).1, None);
}

#[test]
fn a_string_of_ten_megabytes_lands() {
    let event = format!(r#"{{"s":"{}","t":1}}"#, "é".repeat(5_000_000));
    assert_eq!(Table::of(&[]).land(&event).1, None);
}

#[test]
fn an_event_beyond_the_size_limit_is_dead() {
    let options = DecodeOptions { event_bytes_max: 20, ..DecodeOptions::default() };
    let decoded =
        Table::new(options).decode(&records(0, [r#"{"a":"0123456789ab"}"#, r#"{"a":"0123456789abc"}"#]));
    assert_eq!(decoded.rows.num_rows(), 1);
    assert_eq!(decoded.dead.unwrap()["reason"].as_string::<i32>().value(0), "too_large");
}

#[test]
fn a_schema_that_cannot_take_events_is_refused_with_the_reason() {
    use arrow_schema::{DataType, Field, Schema};
    let options = DecodeOptions::default();
    let initial = columns::initial_schema(&options);
    let with = |change: &dyn Fn(&mut Vec<Field>)| {
        let mut fields: Vec<_> = initial.fields().iter().map(|field| field.as_ref().clone()).collect();
        change(&mut fields);
        Decoder::new(options.clone().into(), Schema::new(fields).into()).unwrap_err()
    };
    let missing = with(&|fields| drop(fields.remove(1)));
    assert!(matches!(missing, DecodeError::Missing { name: "_offset" }), "{missing}");
    let other = with(&|fields| fields[3] = Field::new("_time", DataType::Utf8, false));
    assert!(matches!(other, DecodeError::WrongType { name: "_time", .. }), "{other}");
    let required = with(&|fields| fields.push(Field::new("must", DataType::Int64, false)));
    assert!(matches!(required, DecodeError::NotNullable { .. }), "{required}");
}

#[test]
fn a_decoder_goes_on_after_dead_letters_in_the_middle_of_anything() {
    let table = Table::of(&[r#"{"a":{"b":[{"c":"x"}]}}"#]);
    let whole = r#"{"a":{"b":[{"c":"y"},{"c":"z"}]}}"#;
    let cut: Vec<_> = (0..=whole.len()).map(|end| &whole[..end]).collect();
    let decoded = table.decode(&records(0, cut.iter()));
    assert_eq!(decoded.rows.num_rows(), 1);
    uphold(whole, &decoded.rows, 0, true);
    let mut decoder = Decoder::new(table.options.clone(), table.schema.clone()).unwrap();
    decoder.decode(P0, &records(0, cut.iter()));
    uphold(whole, &decoder.decode(P0, &records(99, [whole])).rows, 0, true);
}
