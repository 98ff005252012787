//! One JSON event: verdict, rows, residual.

use std::sync::{Arc, LazyLock};

use arrow_schema::SchemaRef;
use decode::{DeadReason, DecodeOptions, Decoded, Decoder, EventLimits, check_event, columns, json};
use event::{Offset, PartitionId, Records, RecordsBuilder, TimestampMicros};

use crate::oracle::uphold;

/// Events whose columns the second table has, so that an input meets columns that do not suit it.
const KNOWN: [&str; 4] = [
    r#"{"_id":"a","k":"text","n":1,"x":1.5,"b":true,"timestamp":"2024-03-05T06:07:08Z"}"#,
    r#"{"a":{"b":{"c":1},"d":"x"},"list":[1,2],"texts":["a"],"items":[{"sku":"x","count":1}]}"#,
    r#"{"k0":1,"k1":"x","Key":true,"o":{"p":1.5},"m":[[1],[2]]}"#,
    r#"{"kind":"click","price":9.5,"user":{"id":1,"name":"x"}}"#,
];

static OPTIONS: LazyLock<Arc<DecodeOptions>> = LazyLock::new(Arc::default);
static EMPTY: LazyLock<SchemaRef> = LazyLock::new(|| columns::initial_schema(&OPTIONS));
static FULL: LazyLock<SchemaRef> = LazyLock::new(|| learned(&records(&KNOWN.map(str::as_bytes)), &EMPTY));

/// Verdict, scanner and `serde_json` agree; the event is a row of two tables, and row with residual is
/// the event; what is no event is a dead letter, and its neighbours are rows.
pub fn run(bytes: &[u8]) {
    let verdict = check_event(bytes, EventLimits::default());
    agrees_with_serde_json(bytes, &verdict);
    agrees_with_the_scanner(bytes, &verdict);
    let records = records(&[KNOWN[0].as_bytes(), bytes, KNOWN[1].as_bytes()]);
    for schema in [learned(&records, &EMPTY), FULL.clone()] {
        lands(bytes, verdict.is_ok(), decode(&records, &schema));
    }
}

fn records(payloads: &[&[u8]]) -> Records {
    let mut builder = RecordsBuilder::new();
    for (offset, payload) in (0..).zip(payloads) {
        builder.push(Offset(offset), TimestampMicros(1_709_618_828_123_456), Some(payload));
    }
    builder.finish()
}

fn decode(records: &Records, schema: &SchemaRef) -> Decoded {
    let mut decoder = Decoder::new(OPTIONS.clone(), schema.clone()).expect("a schema we made takes events");
    decoder.decode(PartitionId(0), records)
}

fn learned(records: &Records, schema: &SchemaRef) -> SchemaRef {
    decode(records, schema).discovered.extend(schema, &OPTIONS)
}

fn agrees_with_serde_json(bytes: &[u8], verdict: &Result<(), DeadReason>) {
    let text = std::str::from_utf8(bytes);
    let is_json = text.is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    let is_object = bytes.get(json::skip_whitespace(bytes, 0)) == Some(&b'{');
    match verdict {
        Ok(()) => assert!(is_json && is_object, "taken, and serde_json refuses it"),
        Err(DeadReason::TooDeep { .. } | DeadReason::TooLarge { .. }) => {}
        Err(DeadReason::NotAnObject { .. }) => {
            assert!(is_json && !is_object, "called JSON, and serde_json refuses it")
        }
        Err(reason) => assert!(!is_json, "serde_json takes it, and we say: {reason}"),
    }
}

fn agrees_with_the_scanner(bytes: &[u8], verdict: &Result<(), DeadReason>) {
    let end = json::skip_value(bytes, 0, usize::MAX);
    assert!(end.is_ok_and(|end| end <= bytes.len()) || end.is_err(), "an end beyond the end: {end:?}");
    if verdict.is_ok() {
        let end = end.expect("what is an event ends somewhere");
        assert_eq!(json::skip_whitespace(bytes, end), bytes.len(), "an event has nothing behind it");
    }
}

fn lands(bytes: &[u8], is_event: bool, decoded: Decoded) {
    let dead_count = decoded.dead.as_ref().map_or(0, arrow_array::RecordBatch::num_rows);
    assert_eq!((decoded.rows.num_rows(), dead_count), if is_event { (3, 0) } else { (2, 1) });
    uphold(KNOWN[0], &decoded.rows, 0, true);
    uphold(KNOWN[1], &decoded.rows, decoded.rows.num_rows() - 1, true);
    if let (true, Ok(text)) = (is_event, std::str::from_utf8(bytes)) {
        uphold(text, &decoded.rows, 1, true);
    }
}
