//! Bad input: each a clear answer, and its neighbours intact.

use crate::support::{Fixture, small_limits};

/// Sends `bad` alone: 400 with `code`. Then between two good lines, and in an array where `in_array`
/// says that its neighbours survive: only the bad one is rejected.
async fn assert_rejected_alone(bad: &[u8], code: &str) {
    let fixture = Fixture::new();
    fixture.post(bad.to_vec()).await.assert_error(400, code);
    assert!(fixture.log.raw_events("logs").is_empty());

    let lines = [b"{\"good\":1}\n", bad, b"\n{\"good\":2}\n"].concat();
    let answer = fixture.post(lines).await;
    assert_eq!(answer.accepted(), 2);
    assert_eq!(answer.rejected(), [(1, code)]);
    assert_eq!(fixture.logged(), [r#"{"good":1}"#, r#"{"good":2}"#]);
}

/// Sends `odd` alone, between lines and in an array: it is an event like any other.
async fn assert_accepted(odd: &str) {
    for body in [odd.to_owned(), format!("{{}}\n{odd}\n{{}}"), format!("[{odd}]")] {
        let fixture = Fixture::new();
        let answer = fixture.post(body).await;
        answer.accepted();
        assert!(answer.rejected().is_empty(), "{}", answer.json);
        assert!(fixture.logged().iter().any(|event| event == odd));
    }
}

#[tokio::test]
async fn a_request_without_any_event_says_that_it_is_empty() {
    for body in ["", " \r\n \n", "[]", " [ ] ", "\u{feff}"] {
        let fixture = Fixture::new();
        fixture.post(body).await.assert_error(400, "empty_body");
    }
}

#[tokio::test]
async fn broken_utf8_is_rejected() {
    assert_rejected_alone(b"{\"name\":\"caf\xE9\"}", "invalid_utf8").await;
    assert_rejected_alone(b"{\"name\":\"\xED\xA0\x80\"}", "invalid_utf8").await;
    assert_rejected_alone(b"{\"n\xFF\":1}", "invalid_utf8").await;
}

#[tokio::test]
async fn truncated_json_is_rejected() {
    for bad in [
        r#"{"a":1"#,
        r#"{"a":"#,
        r#"{"a"#,
        r#"{"a":"text"#,
        r#"{"a":[1,2"#,
        "{",
        r#"{"a":tru"#,
        r#"{"a":-"#,
        r#"{"a":"\u00"#,
    ] {
        assert_rejected_alone(bad.as_bytes(), "invalid_json").await;
    }
}

#[tokio::test]
async fn what_is_no_json_is_rejected() {
    for bad in [
        "hello",
        "{a:1}",
        "{'a':1}",
        r#"{"a":1,}"#,
        r#"{"a":01}"#,
        r#"{"a":NaN}"#,
        r#"{"a":1}}"#,
        r#"{"a" 1}"#,
        r#"{"a":+1}"#,
        r#"{"a":1.}"#,
        "{\"a\":\"\t\"}",
        r#"{"a":"\x"}"#,
        "a=1&b=2",
        "{\"a\":1}\0",
    ] {
        assert_rejected_alone(bad.as_bytes(), "invalid_json").await;
    }
}

#[tokio::test]
async fn json_that_is_no_object_is_rejected() {
    for bad in ["1", "\"text\"", "null", "true", "-1.5e3"] {
        assert_rejected_alone(bad.as_bytes(), "not_an_object").await;
    }
}

#[tokio::test]
async fn nesting_ten_thousand_deep_is_rejected() {
    let bad = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_rejected_alone(bad.as_bytes(), "too_deep").await;
    let bad = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    assert_rejected_alone(bad.as_bytes(), "too_deep").await;
}

#[tokio::test]
async fn an_array_of_arrays_is_rejected_element_by_element() {
    let fixture = Fixture::new();
    let answer = fixture.post("[[{\"a\":1}],[{\"a\":2}]]").await;
    answer.assert_error(400, "not_an_object");
    assert_eq!(answer.rejected(), [(0, "not_an_object"), (1, "not_an_object")]);
    assert!(fixture.logged().is_empty());
}

#[tokio::test]
async fn an_array_keeps_its_good_elements() {
    let fixture = Fixture::new();
    let answer = fixture.post(r#"[{"a":1},2,{"a":3},"four",[5],{"a":6}]"#).await;
    assert_eq!(answer.accepted(), 3);
    assert_eq!(answer.rejected(), [(1, "not_an_object"), (3, "not_an_object"), (4, "not_an_object")]);
    assert_eq!(fixture.logged(), [r#"{"a":1}"#, r#"{"a":3}"#, r#"{"a":6}"#]);
}

#[tokio::test]
async fn an_array_that_breaks_off_is_refused_whole_with_the_place() {
    for (body, at) in [
        (r#"[{"a":1},{"a":2}"#, 16),
        ("[{\"a\":1},\n{\"a\":2}\n", 17),
        (r#"[{"a":1} {"a":2}]"#, 9),
        (r#"[{"a":1},]"#, 9),
        (r#"[{"a":1}] x"#, 10),
    ] {
        let fixture = Fixture::new();
        let answer = fixture.post(body).await;
        answer.assert_error(400, "invalid_json");
        assert!(answer.message().contains(&format!("byte {at}")), "{body:?}: {}", answer.message());
        assert!(fixture.logged().is_empty(), "{body:?}");
    }
}

#[tokio::test]
async fn an_object_over_several_lines_that_breaks_off_is_refused_whole() {
    for body in
        ["{\n  \"a\": {\n    \"b\": 1\n  },\n", "{\n  \"items\": [\n    {\"b\": 1}\n", "{\n  \"a\": 'x'\n}"]
    {
        let fixture = Fixture::new();
        fixture.post(body).await.assert_error(400, "invalid_json");
        assert!(fixture.logged().is_empty());
    }
}

#[tokio::test]
async fn a_broken_first_line_does_not_spoil_the_others() {
    for bad in ["{\"a\":", "{\"a\":1,", "{\"a\":\"x}", "{", "not json", "{\"a\":1}}", "[1,2]", "]"] {
        let fixture = Fixture::new();
        let answer = fixture.post(format!("{bad}\n{{\"b\":1}}\n{{\"c\":\"y}}\n{{\"b\":2}}\n")).await;
        assert_eq!(answer.accepted(), 2, "{bad}: {}", answer.json);
        assert_eq!(answer.rejected().iter().map(|one| one.0).collect::<Vec<_>>(), [0, 2], "{bad}");
        assert_eq!(fixture.logged(), [r#"{"b":1}"#, r#"{"b":2}"#]);
    }
}

#[tokio::test]
async fn a_client_that_declares_lines_gets_lines() {
    let fixture = Fixture::new();
    let answer = fixture.post_with(&[("content-type", "application/x-ndjson")], "[1,\n  {\"b\":1}\n").await;
    assert_eq!(answer.accepted(), 1);
    assert_eq!(answer.rejected(), [(0, "invalid_json")]);
}

#[tokio::test]
async fn different_reasons_have_a_code_of_their_own() {
    let fixture = Fixture::new();
    let answer = fixture.post("1\n{broken\n").await;
    answer.assert_error(400, "no_valid_event");
    assert_eq!(answer.rejected(), [(0, "not_an_object"), (1, "invalid_json")]);
}

#[tokio::test]
async fn a_string_of_ten_megabytes_is_an_event() {
    assert_accepted(&format!("{{\"text\":\"{}\"}}", "é".repeat(5 * 1024 * 1024))).await;
}

#[tokio::test]
async fn a_number_no_type_holds_is_an_event() {
    assert_accepted(r#"{"n":1e400,"m":-123456789012345678901234567890.5}"#).await;
}

#[tokio::test]
async fn lone_surrogates_are_an_event() {
    assert_accepted(r#"{"a":"\ud800","\udc00":"\udfff\ud800x"}"#).await;
}

#[tokio::test]
async fn five_thousand_keys_are_an_event() {
    let fields: Vec<_> = (0..5000).map(|n| format!("\"key{n}\":{n}")).collect();
    assert_accepted(&format!("{{{}}}", fields.join(","))).await;
}

#[tokio::test]
async fn odd_keys_are_events() {
    for odd in
        [r#"{"a":1,"A":2}"#, r#"{"two words":1}"#, r#"{"":1}"#, r#"{"a":1,"a":2}"#, r#"{"a\u0000":1}"#, "{}"]
    {
        assert_accepted(odd).await;
    }
}

#[tokio::test]
async fn nesting_at_the_limit_is_an_event() {
    assert_accepted(&format!("{{\"a\":{}{}}}", "[".repeat(127), "]".repeat(127))).await;
}

#[tokio::test]
async fn the_limits_of_an_event_are_the_streams_own() {
    let fixture = Fixture::with_limits(small_limits());
    let post = |body: String| axum::http::Request::post("/events/clicks").body(body.into()).unwrap();
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(100));

    let answer = fixture.send(post(format!("{{}}\n{large}\n{{\"a\":[[[1]]]}}\n"))).await;
    assert_eq!(answer.accepted(), 1);
    assert_eq!(answer.rejected(), [(1, "too_large"), (2, "too_deep")]);

    fixture.send(post(large)).await.assert_error(413, "too_large");
}
