//! `_time`, `event_date` and `_id`.

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use decode::{DecodeOptions, Reason};

use crate::table::{RECEIVED_AT, Table, check};

fn time(batch: &RecordBatch) -> (i64, i32) {
    let time = batch["_time"].as_primitive::<TimestampMicrosecondType>().value(0);
    (time, batch["event_date"].as_primitive::<Date32Type>().value(0))
}

fn id(batch: &RecordBatch) -> Option<&str> {
    let ids = batch["_id"].as_string::<i32>();
    ids.is_valid(0).then(|| ids.value(0))
}

#[track_caller]
fn time_of(event: &str) -> (i64, i32) {
    let mut table = Table::of(&[]);
    table.land(event);
    time(&table.batches[0])
}

const DAY: i32 = 19_787;

#[test]
fn the_event_time_is_read_and_stays_as_it_was_sent() {
    let mut table = Table::of(&[]);
    let (row, residual) = table.land(r#"{"timestamp":"2024-03-06T06:07:08.123456+09:00"}"#);
    assert_eq!((row.as_str(), residual), (r#"{"timestamp":"2024-03-06T06:07:08.123456+09:00"}"#, None));
    assert_eq!(time(&table.batches[0]), (1_709_672_828_123_456, DAY));
    for number in ["1709618828", "1709618828000", "1709618828000000", "1709618828.0"] {
        assert_eq!(time_of(&format!(r#"{{"timestamp":{number}}}"#)), (1_709_618_828_000_000, DAY));
    }
}

#[test]
fn the_day_is_that_of_utc() {
    assert_eq!(time_of(r#"{"timestamp":"2024-03-06T00:30:00+09:00"}"#).1, DAY);
    assert_eq!(time_of(r#"{"timestamp":"1969-12-31T23:59:59Z"}"#), (-1_000_000, -1));
}

#[test]
fn without_a_time_that_can_be_read_it_is_when_the_log_took_it() {
    for (event, counted) in [
        (r#"{"a":1}"#, 0),
        (r#"{"timestamp":null}"#, 0),
        (r#"{"timestamp":"soon"}"#, 1),
        (r#"{"timestamp":"9999-12-31T00:00:00Z"}"#, 1),
        (r#"{"timestamp":{"a":1}}"#, 1),
    ] {
        let mut table = Table::of(&[]);
        table.land(event);
        assert_eq!(time(&table.batches[0]), (RECEIVED_AT, DAY), "{event}");
        assert_eq!(table.conflict("timestamp", Reason::EventTimeUnreadable), counted, "{event}");
    }
}

#[test]
fn a_field_that_cannot_be_a_column_can_still_say_the_time() {
    let options = DecodeOptions { event_time: Some("event_date".into()), ..DecodeOptions::default() };
    let mut table = Table::new(options);
    assert_eq!(table.land(r#"{"event_date":"2024-03-06"}"#).1.unwrap(), r#"{"event_date":"2024-03-06"}"#);
    assert_eq!(time(&table.batches[0]).1, DAY + 1);
}

#[test]
fn local_times_use_the_zone_of_the_stream() {
    let options = DecodeOptions { time_zone: chrono_tz::Asia::Seoul, ..DecodeOptions::default() };
    let mut table = Table::new(options);
    table.land(r#"{"timestamp":"2024-03-06T00:30:00"}"#);
    assert_eq!(time(&table.batches[0]).1, DAY);
}

#[test]
fn every_row_knows_its_place_in_the_log() {
    let mut table = Table::of(&[r#"{"a":1}"#, r#"{"a":2}"#]);
    table.land(r#"{"a":3}"#);
    let batch = &table.batches[0];
    assert_eq!(batch["_partition"].as_primitive::<Int32Type>().value(0), 0);
    assert_eq!(batch["_offset"].as_primitive::<Int64Type>().value(0), 2);
    let received_at = batch["_received_at"].as_primitive::<TimestampMicrosecondType>().value(0);
    assert_eq!(received_at, RECEIVED_AT + 2_000_000);
}

#[test]
fn the_events_own_id_fills_the_id_column_and_no_other() {
    let table = check(&[], r#"{"_id":"e\u0031","a":1}"#, r#"{"_id":"e1","a":1}"#, None);
    assert_eq!((id(&table.batches[0]), table.columns().as_str()), (Some("e1"), "a long"));
}

#[test]
fn an_own_id_that_is_no_string_stays() {
    for value in ["7", "{\"a\":1}", "\"\\ud800\""] {
        let event = format!(r#"{{"_id":{value}}}"#);
        let table = check(&[], &event, "{}", Some(&event));
        assert_eq!(id(&table.batches[0]), None);
    }
    assert_eq!(
        check(&[], r#"{"_id":7}"#, "{}", Some(r#"{"_id":7}"#)).conflict("_id", Reason::IdNotAString),
        1
    );
}

#[test]
fn another_id_field_fills_the_id_column_and_keeps_its_own() {
    let options = DecodeOptions { event_id: Some("eid".into()), ..DecodeOptions::default() };
    let mut table = Table::new(options);
    assert_eq!(table.land(r#"{"eid":"x","_id":"mine"}"#).1.unwrap(), r#"{"_id":"mine"}"#);
    assert_eq!((id(&table.batches[0]), table.columns().as_str()), (Some("x"), "eid string"));
    table.land(r#"{"eid":17}"#);
    assert_eq!(id(&table.batches[0]), Some("17"));
    table.land(r#"{"eid":true}"#);
    assert_eq!(id(&table.batches[0]), None);
}
