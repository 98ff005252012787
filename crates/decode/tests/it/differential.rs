//! The same rows as arrow-json gives, where it can.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_json::ReaderBuilder;
use arrow_schema::Schema;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::events::typed_event;
use crate::table::Table;

fn of_events(batch: &RecordBatch) -> RecordBatch {
    let system = decode::columns::SYSTEM;
    let indices: Vec<_> = (0..batch.num_columns())
        .filter(|at| !system.contains(&batch.schema().field(*at).name().as_str()))
        .collect();
    batch.project(&indices).unwrap()
}

fn theirs(schema: Arc<Schema>, events: &[String]) -> RecordBatch {
    let mut reader = ReaderBuilder::new(schema).build_decoder().unwrap();
    reader.decode(events.join("\n").as_bytes()).unwrap();
    reader.flush().unwrap().unwrap()
}

/// Has all fields that [`typed_event`] may have.
const FULL: &str = r#"{"action":"a","timestamp":"t","user_id":"u","count":1,"score":0.5,
    "tickets":[{"seat":"A","row":1,"tags":["x"]}],
    "geo":{"lat":0.5,"cells":[[1]],"vip":true,"price":{"amount":0.5,"currency":"EUR"}}}"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn well_typed_events_become_the_rows_that_arrow_json_makes(events in vec(typed_event(), 1..30)) {
        let mut table = Table::of(&[FULL]);
        table.flush(&[&events]);
        prop_assert_eq!(table.batches[0]["_residual"].null_count(), events.len());
        let ours = of_events(&table.batches[0]);
        prop_assert_eq!(&theirs(ours.schema(), &events), &ours);
    }
}
