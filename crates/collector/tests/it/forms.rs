//! One object, an array, lines: what each form gives, whatever the content type says.

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use proptest::prelude::*;

use crate::support::Fixture;

#[tokio::test]
async fn one_object_is_one_event() {
    let fixture = Fixture::new();
    let answer = fixture.post(r#"{"action":"search"}"#).await;
    assert_eq!(answer.json, serde_json::json!({"accepted": 1, "rejected": [], "receipt": "logs.0.0"}));
    assert_eq!(fixture.logged(), [r#"{"action":"search"}"#]);
}

#[tokio::test]
async fn an_object_printed_over_several_lines_is_one_event() {
    let fixture = Fixture::new();
    let pretty = "{\r\n  \"a\": 1,\r\n  \"b\": {\"c\": 2}\r\n}";
    assert_eq!(fixture.post(format!("\n{pretty}\n")).await.accepted(), 1);
    assert_eq!(fixture.logged(), [pretty]);
}

#[tokio::test]
async fn objects_printed_over_several_lines_one_after_another_are_one_event_each() {
    let fixture = Fixture::new();
    assert_eq!(fixture.post("{\n \"a\": 1\n}\n{\n \"a\": 2\n}\n").await.accepted(), 2);
    assert_eq!(fixture.logged(), ["{\n \"a\": 1\n}", "{\n \"a\": 2\n}"]);
}

#[tokio::test]
async fn an_array_is_its_elements() {
    let fixture = Fixture::new();
    let answer = fixture.post("[ {\"a\":1},\n{ \"a\" : 2 } ,{\"a\":[3,{}]}]\n").await;
    assert_eq!(answer.accepted(), 3);
    assert_eq!(answer.json["receipt"], "logs.0.0-2");
    assert_eq!(fixture.logged(), [r#"{"a":1}"#, r#"{ "a" : 2 }"#, r#"{"a":[3,{}]}"#]);
}

#[tokio::test]
async fn each_line_is_an_event_and_blank_lines_do_not_count() {
    let fixture = Fixture::new();
    let answer = fixture.post("\r\n{\"a\":1}\r\n\r\n  \n{\"a\":2}\nnull\n {\"a\":3} \n\n").await;
    assert_eq!(answer.accepted(), 3);
    assert_eq!(answer.rejected(), [(2, "not_an_object")]);
    assert_eq!(fixture.logged(), [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#]);
}

#[tokio::test]
async fn the_bytes_decide_the_form_not_the_content_type() {
    for content_type in
        ["application/json", "application/x-ndjson", "text/plain", "application/x-www-form-urlencoded"]
    {
        for (body, count) in
            [("{\"a\":1}", 1), ("{\n\"a\":1\n}", 1), ("{\"a\":1}\n{\"a\":2}", 2), ("[{},{},{}]", 3)]
        {
            let fixture = Fixture::new();
            let answer = fixture.post_with(&[("content-type", content_type)], body).await;
            assert_eq!(answer.accepted(), count, "{body:?} as {content_type}");
        }
    }
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_the_event() {
    let fixture = Fixture::new();
    assert_eq!(fixture.post("\u{feff}{\"a\":1}\n{\"a\":2}").await.accepted(), 2);
    assert_eq!(fixture.logged(), [r#"{"a":1}"#, r#"{"a":2}"#]);
}

#[tokio::test]
async fn events_reach_the_log_byte_for_byte_as_they_were_sent() {
    let odd = r#"{ "b":1.50e+00,"a":"\u00e9\/","a":	-0 , "é":[ ] }"#;
    for body in [odd.to_owned(), format!("[{odd}]"), format!("{{}}\n{odd}\n")] {
        let fixture = Fixture::new();
        fixture.post(body).await.accepted();
        assert_eq!(fixture.logged().last().unwrap(), odd);
    }
}

#[tokio::test]
async fn a_stream_has_its_own_topic() {
    let fixture = Fixture::new();
    let request = axum::http::Request::post("/events/clicks").body(Body::from("{}")).unwrap();
    let answer = fixture.send(request).await;
    assert_eq!(answer.json["receipt"], "clicks.0.0");
    assert_eq!(fixture.log.events("web-clicks"), ["{}"]);
    assert!(fixture.logged().is_empty());
}

/// A JSON value as text, with the whitespace some writers leave in it.
fn value(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(depth, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
            object_of(inner),
        ]
    })
    .boxed()
}

fn object_of(value: impl Strategy<Value = String> + 'static) -> BoxedStrategy<String> {
    let field = (any::<String>(), value)
        .prop_map(|(key, value)| format!("{}: {value}", serde_json::to_string(&key).unwrap()));
    prop::collection::vec(field, 0..4).prop_map(|fields| format!("{{{}}}", fields.join(", "))).boxed()
}

fn written(events: &[String], form: u8) -> String {
    match form {
        0 => format!(" [ {} ] ", events.join(" ,\n ")),
        1 => events.join("\n"),
        2 => events.iter().map(|event| format!(" {event}\r\n\r\n")).collect(),
        _ => format!("[{}]", events.join(",")),
    }
}

/// The body in pieces of `size` bytes, as a slow network would bring it.
fn pieces(body: &str, size: usize) -> Body {
    let pieces: Vec<_> = body
        .as_bytes()
        .chunks(size)
        .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
        .collect();
    Body::from_stream(stream::iter(pieces))
}

proptest! {
    #[test]
    fn whatever_the_form_and_the_pieces_the_log_has_the_events_as_sent(
        events in prop::collection::vec(object_of(value(3)), 1..20), form in 0_u8..4, size in 1_usize..2000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new();
            let answer = fixture.post(pieces(&written(&events, form), size)).await;
            prop_assert_eq!(answer.accepted(), events.len() as u64);
            prop_assert_eq!(fixture.logged(), events);
            Ok(())
        })?;
    }
}
