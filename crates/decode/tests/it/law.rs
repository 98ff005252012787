//! The law and its kin, on generated events.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use decode::{
    ColumnType, DecodeOptions, Decoder, Discovered, EventLimits, check_event, columns, conform, json, law,
};
use event::Records;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::events::{broken_event, usual_event, value, wild_event};
use crate::oracle::uphold;
use crate::table::{P0, Table, records};

fn event() -> impl Strategy<Value = String> {
    prop_oneof![wild_event(), usual_event()]
}

/// Flushes of chunks of events.
fn flushes() -> impl Strategy<Value = Vec<Vec<Vec<String>>>> {
    vec(vec(vec(event(), 0..5), 1..4), 1..4)
}

fn options() -> impl Strategy<Value = DecodeOptions> {
    let by_hand = vec![
        ("a".to_owned(), ColumnType::Double),
        ("b".to_owned(), ColumnType::List(ColumnType::String.into())),
    ];
    let id = prop_oneof![Just(Some("_id")), Just(Some("a")), Just(None)];
    (1..12_usize, 1..5_usize, any::<bool>(), any::<bool>(), id).prop_map(
        move |(most, depth, limited, by, id)| DecodeOptions {
            event_id: id.map(str::to_owned),
            columns: if by { by_hand.clone() } else { Vec::new() },
            columns_max: if limited { most } else { 1_000 },
            depth_max: if limited { depth } else { 16 },
            ..DecodeOptions::default()
        },
    )
}

fn uphold_all(events: &[String], batch: &RecordBatch, options: &DecodeOptions) {
    assert_eq!(events.len(), batch.num_rows());
    for (at, event) in events.iter().enumerate() {
        let own_id = options.event_id.as_deref() == Some("_id");
        uphold(event, batch, at, own_id);
        // The judge that production asks must agree with the one above.
        let digest = law::Event::of_row(batch, at, own_id).map(|row| row.digest());
        assert_eq!(law::Event::read(event.as_bytes()).map(|event| event.digest()), digest, "{event}");
        assert_eq!(law::difference(event.as_bytes(), batch, at, own_id), None, "{event}");
    }
}

fn all_merges_agree(parts: &[Discovered; 3]) -> Discovered {
    let merged = |order: [usize; 3]| {
        let mut all = Discovered::default();
        order.iter().for_each(|at| all.merge(parts[*at].clone()));
        all
    };
    let all = merged([0, 1, 2]);
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_eq!(merged(order), all);
    }
    let mut right = parts[1].clone();
    right.merge(parts[2].clone());
    let mut left = parts[0].clone();
    left.merge(right);
    assert_eq!(left, all);
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn row_merged_with_residual_is_the_event(flushes in flushes(), options in options()) {
        let mut table = Table::new(options);
        for chunks in flushes {
            let chunks: Vec<&[String]> = chunks.iter().map(Vec::as_slice).collect();
            table.flush(&chunks);
            for (events, batch) in chunks.iter().zip(&table.batches) {
                uphold_all(events, batch, &table.options);
            }
        }
    }

    #[test]
    fn a_decoder_that_has_seen_much_decodes_as_a_new_one(chunks in vec(vec(event(), 1..6), 1..5), options in options()) {
        let mut table = Table::new(options);
        table.flush(&[&chunks[0]]);
        let mut old = Decoder::new(table.options.clone(), table.schema.clone()).unwrap();
        for chunk in &chunks {
            let records = records(0, chunk);
            let (old, new) = (old.decode(P0, &records), table.decode(&records));
            prop_assert_eq!(old.rows, new.rows);
            prop_assert_eq!(old.discovered, new.discovered);
            prop_assert_eq!(old.conflicts, new.conflicts);
        }
    }

    #[test]
    fn columns_do_not_depend_on_how_a_flush_was_cut(events in vec(event(), 3..12), cuts in any::<[prop::sample::Index; 2]>(), options in options()) {
        let mut cuts = cuts.map(|cut| cut.index(events.len()));
        cuts.sort_unstable();
        let table = Table::new(options);
        let learn = |from: usize, to: usize| table.decode(&records(from as u64, &events[from..to])).discovered;
        let all = all_merges_agree(&[learn(0, cuts[0]), learn(cuts[0], cuts[1]), learn(cuts[1], events.len())]);
        prop_assert_eq!(all, learn(0, events.len()));
    }

    #[test]
    fn a_flush_learns_all_there_is_to_learn(events in vec(event(), 1..8)) {
        let mut table = Table::of(&[]);
        table.flush(&[&events]);
        let again = table.decode(&records(0, &events));
        prop_assert!(again.discovered.is_empty());
        prop_assert_eq!(&again.rows, &table.batches[0]);
    }

    #[test]
    fn a_schema_grows_only_forward(flushes in vec(vec(event(), 1..5), 2..5), options in options()) {
        let mut table = Table::new(options);
        for events in flushes {
            let before = table.schema.clone();
            let rows = table.decode(&records(0, &events)).rows;
            table.flush(&[&events]);
            let conformed = conform(&rows, &table.schema);
            uphold_all(&events, &conformed, &table.options);
            for (before, after) in before.fields().iter().zip(table.schema.fields()) {
                prop_assert_eq!(before.name(), after.name());
            }
            let leaves: usize = table.schema.fields().iter().map(|field| leaf_count(field.data_type())).sum();
            let by_hand = table.options.columns.len();
            prop_assert!(leaves - columns::SYSTEM.len() <= table.options.columns_max.max(by_hand));
        }
    }

    #[test]
    fn every_payload_becomes_a_row_or_a_dead_letter_as_the_check_says(payloads in vec(prop_oneof![broken_event(), vec(any::<u8>(), 0..20)], 0..8)) {
        let table = Table::of(&[r#"{"a":{"b":[{"c":1}]},"b":"x"}"#]);
        let limits = EventLimits::default();
        let decoded = table.decode(&records(0, &payloads));
        let (good, bad): (Vec<_>, Vec<_>) = payloads.iter().partition(|payload| check_event(payload, limits).is_ok());
        let dead = decoded.dead.as_ref().map_or(0, RecordBatch::num_rows);
        prop_assert_eq!((decoded.rows.num_rows(), dead), (good.len(), bad.len()));
        for (at, event) in good.iter().enumerate() {
            uphold(std::str::from_utf8(event).unwrap(), &decoded.rows, at, true);
        }
    }

    #[test]
    fn the_check_takes_what_serde_json_takes(payload in prop_oneof![broken_event(), value().prop_map(String::into_bytes)]) {
        let text = std::str::from_utf8(&payload);
        let is_json = text.is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        let is_object = payload.trim_ascii().first() == Some(&b'{');
        prop_assert_eq!(check_event(&payload, EventLimits::default()).is_ok(), is_json && is_object);
    }

    #[test]
    fn values_in_a_row_are_told_apart(values in vec(value(), 1..5)) {
        let text = values.join(" , ");
        let mut at = 0;
        for value in &values {
            let end = json::skip_value(text.as_bytes(), at, 100).unwrap();
            prop_assert_eq!(text[at..end].trim(), value);
            at = end + 3;
        }
    }
}

fn leaf_count(of: &arrow_schema::DataType) -> usize {
    use arrow_schema::DataType::{List, Struct};
    match of {
        Struct(fields) => fields.iter().map(|field| leaf_count(field.data_type())).sum(),
        List(element) => leaf_count(element.data_type()),
        _ => 1,
    }
}

#[test]
fn rows_keep_the_law_when_another_decoder_made_them_part_by_part() {
    let events: Vec<_> =
        (0..100).map(|number| format!(r#"{{"n{}":{number},"s":"x"}}"#, number % 7)).collect();
    let mut table = Table::of(&[]);
    table.flush(&events.chunks(9).collect::<Vec<_>>());
    let all: Records = records(0, &events);
    let mut decoder = Decoder::new(Arc::clone(&table.options), table.schema.clone()).unwrap();
    let whole = decoder.decode(P0, &all).rows;
    let parts = table.batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    assert_eq!((whole.num_rows(), parts), (100, 100));
    assert_eq!(whole["_residual"].null_count(), 100);
}
