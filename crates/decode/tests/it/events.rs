//! Generated events, as text: spelling matters.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;

const NUMBERS: [&str; 26] = [
    "0",
    "-0",
    "1",
    "-1",
    "42",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "1.0",
    "0.1",
    "-0.0",
    "1e2",
    "1E+22",
    "5e-324",
    "1e400",
    "-1e400",
    "1e-400",
    "0e-999",
    "123456789012345678901234567890",
    "1709618828",
    "2.5",
];
const STRINGS: [&str; 14] = [
    "",
    "x",
    "plain text of some length",
    "é",
    "日本語",
    "😀",
    r"\ud83d\ude00",
    r"\ud800",
    r"\udc00x",
    r"a\ud800\ud800",
    r"\n\t\\\/",
    r#"q\"q"#,
    r"\u0000",
    "2024-03-05T06:07:08Z",
];
const KEYS: [&str; 26] = [
    "a",
    "b",
    "c",
    "d",
    "A",
    "B",
    "Ä",
    "ä",
    r"\u0061",
    r"\u00e4",
    "a b",
    "a=b",
    "",
    r"\ud800",
    r"\t",
    "_id",
    "_ID",
    "_time",
    "_residual",
    "event_date",
    "_offset",
    "timestamp",
    "a.b",
    r"a\u0062",
    r"x\/y",
    "日",
];

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn number() -> BoxedStrategy<String> {
    prop_oneof![
        3 => (-100_i64..100).prop_map(|value| value.to_string()),
        1 => any::<i64>().prop_map(|value| value.to_string()),
        2 => select(&NUMBERS[..]).prop_map(str::to_owned),
        1 => any::<f64>().prop_filter("JSON has no NaN", |value| value.is_finite()).prop_map(|value| format!("{value:?}")),
    ]
    .boxed()
}

fn string() -> BoxedStrategy<String> {
    prop_oneof![
        3 => select(&STRINGS[..]).prop_map(quoted),
        1 => "\\PC{0,20}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ]
    .boxed()
}

fn leaf() -> BoxedStrategy<String> {
    prop_oneof![3 => number(), 3 => string(), 1 => select(&["null", "true", "false", "[]", "{}"][..]).prop_map(str::to_owned)].boxed()
}

fn space() -> impl Strategy<Value = &'static str> {
    select(&["", "", "", "", " ", "\n\t "][..])
}

fn object(key: BoxedStrategy<String>, value: BoxedStrategy<String>, most: usize) -> BoxedStrategy<String> {
    let member = (space(), key, space(), space(), value, space());
    proptest::collection::vec(
        member.prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}")),
        0..=most,
    )
    .prop_map(|members| format!("{{{}}}", members.join(",")))
    .boxed()
}

fn array(element: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let element = (space(), element, space()).prop_map(|(a, element, b)| format!("{a}{element}{b}"));
    proptest::collection::vec(element, 0..4).prop_map(|elements| format!("[{}]", elements.join(","))).boxed()
}

fn any_key() -> BoxedStrategy<String> {
    prop_oneof![3 => select(&KEYS[..4]), 1 => select(&KEYS[..])].prop_map(quoted).boxed()
}

/// Any value, a few levels deep.
pub fn value() -> BoxedStrategy<String> {
    leaf()
        .prop_recursive(4, 24, 4, |inner| {
            prop_oneof![object(any_key(), inner.clone().boxed(), 4), array(inner.boxed())]
        })
        .boxed()
}

/// An object of anything, equal keys included.
pub fn wild_event() -> BoxedStrategy<String> {
    object(any_key(), value(), 6)
}

fn mostly(usual: BoxedStrategy<String>) -> BoxedStrategy<String> {
    prop_oneof![12 => usual, 1 => Just("null".to_owned()), 1 => value()].boxed()
}

fn member(name: &'static str, value: BoxedStrategy<String>) -> BoxedStrategy<Option<String>> {
    proptest::option::weighted(0.8, value.prop_map(move |value| format!("\"{name}\":{value}"))).boxed()
}

fn of(members: Vec<BoxedStrategy<Option<String>>>) -> BoxedStrategy<String> {
    let object = |members: Vec<Option<String>>| {
        format!("{{{}}}", members.into_iter().flatten().collect::<Vec<_>>().join(","))
    };
    members.prop_map(object).boxed()
}

/// An event as applications send them: the same fields mostly, mostly of the same types, some of
/// them missing, and now and then something else.
pub fn usual_event() -> BoxedStrategy<String> {
    event(mostly)
}

/// An event whose fields always have the same types, and are all in the first of any flush.
pub fn typed_event() -> BoxedStrategy<String> {
    event(|usual| prop_oneof![8 => usual, 1 => Just("null".to_owned())].boxed())
}

fn event(vary: fn(BoxedStrategy<String>) -> BoxedStrategy<String>) -> BoxedStrategy<String> {
    let text = || select(&STRINGS[..6]).prop_map(quoted).boxed();
    let int = || any::<i64>().prop_map(|value| value.to_string()).boxed();
    let fraction = || {
        (-1_000_000..1_000_000_i32).prop_map(|value| format!("{:?}", f64::from(value) / 64.0 + 0.001)).boxed()
    };
    let price = of(vec![member("amount", vary(fraction())), member("currency", vary(text()))]);
    let ticket = of(vec![
        Just(Some("\"seat\":\"A\"".to_owned())).boxed(),
        member("row", vary(int())),
        member("tags", vary(array(text()))),
    ]);
    let geo = of(vec![
        Just(Some("\"lat\":0.5".to_owned())).boxed(),
        member("cells", vary(array(array(int())))),
        member("vip", vary(select(&["true", "false"][..]).prop_map(str::to_owned).boxed())),
        member(
            "price",
            vary(price.prop_filter("an empty object fits no column", |text| text != "{}").boxed()),
        ),
    ]);
    of(vec![
        Just(Some("\"action\":\"search\"".to_owned())).boxed(),
        member("timestamp", vary(text())),
        member("user_id", vary(text())),
        member("count", vary(int())),
        member("score", vary(fraction())),
        member("tickets", vary(array(ticket))),
        member("geo", vary(geo)),
    ])
}

/// Bytes near an event: some of its bytes removed, doubled, or changed.
pub fn broken_event() -> BoxedStrategy<Vec<u8>> {
    let edit = (
        any::<proptest::sample::Index>(),
        0..3_u8,
        prop_oneof![any::<u8>(), select(&b"\"\\{}[]:,0-.eE tfnu\xff"[..])],
    );
    (wild_event(), proptest::collection::vec(edit, 0..4))
        .prop_map(|(event, edits)| {
            let mut bytes = event.into_bytes();
            for (at, how, byte) in edits {
                let at = at.index(bytes.len() + 1);
                match how {
                    0 if at < bytes.len() => drop(bytes.remove(at)),
                    1 if at < bytes.len() => bytes[at] = byte,
                    _ => bytes.insert(at, byte),
                }
            }
            bytes
        })
        .boxed()
}
