//! Events into a table, flush by flush, the way the loader does it.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, SchemaRef};
use decode::{Conflicts, DecodeOptions, Decoded, Decoder, Discovered, Reason, columns, conform};
use event::{Offset, PartitionId, Records, RecordsBuilder, TimestampMicros};

use crate::oracle::{self, residual, row, show};

/// 2024-03-05T06:07:08.123456Z: when the log took the first event; each later one a second later.
pub const RECEIVED_AT: i64 = 1_709_618_828_123_456;
pub const P0: PartitionId = PartitionId(0);

pub fn records<P: AsRef<[u8]>>(first_offset: u64, payloads: impl IntoIterator<Item = P>) -> Records {
    let mut builder = RecordsBuilder::new();
    for (offset, payload) in (first_offset..).zip(payloads) {
        let received_at = TimestampMicros(RECEIVED_AT + i64::try_from(offset).unwrap() * 1_000_000);
        builder.push(Offset(offset), received_at, Some(payload.as_ref()));
    }
    builder.finish()
}

/// A table, and what came of the last flush into it.
pub struct Table {
    pub options: Arc<DecodeOptions>,
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
    pub conflicts: Conflicts,
    next_offset: u64,
}

impl Table {
    pub fn new(options: DecodeOptions) -> Self {
        let schema = columns::initial_schema(&options);
        Self {
            options: Arc::new(options),
            schema,
            batches: Vec::new(),
            conflicts: Conflicts::default(),
            next_offset: 0,
        }
    }

    /// A table whose columns come from these events.
    pub fn of(events: &[&str]) -> Self {
        Self::new(DecodeOptions::default()).with(events)
    }

    pub fn with(mut self, events: &[&str]) -> Self {
        self.flush(&[events]);
        self
    }

    pub fn decode(&self, records: &Records) -> Decoded {
        Decoder::new(self.options.clone(), self.schema.clone()).unwrap().decode(P0, records)
    }

    /// One flush of several chunks: decode each, learn from all, decode again what taught something.
    pub fn flush<S: AsRef<str>>(&mut self, chunks: &[&[S]]) {
        let chunks: Vec<_> = chunks.iter().map(|chunk| self.offsets(chunk)).collect();
        let first: Vec<_> = chunks.iter().map(|records| self.decode(records)).collect();
        let mut learned = Discovered::default();
        first.iter().for_each(|decoded| learned.merge(decoded.discovered.clone()));
        let schema = learned.extend(&self.schema, &self.options);
        self.schema = schema;
        self.conflicts = Conflicts::default();
        self.batches.clear();
        for (records, mut decoded) in chunks.iter().zip(first) {
            if !decoded.discovered.is_empty() {
                decoded = self.decode(records);
            }
            assert!(decoded.dead.is_none(), "only events here");
            self.conflicts.merge(decoded.conflicts);
            self.batches.push(conform(&decoded.rows, &self.schema));
        }
    }

    fn offsets<S: AsRef<str>>(&mut self, events: &[S]) -> Records {
        let first = self.next_offset;
        self.next_offset += events.len() as u64;
        records(first, events.iter().map(|event| event.as_ref().as_bytes()))
    }

    /// Flushes one event; its row without system columns, and its residual. The law must hold.
    pub fn land(&mut self, event: &str) -> (String, Option<String>) {
        self.flush(&[&[event]]);
        let batch = &self.batches[0];
        let own_id = self.options.event_id.as_deref() == Some("_id");
        oracle::uphold(event, batch, 0, own_id);
        (show(&row(batch, 0, own_id)), residual(batch, 0).map(str::to_owned))
    }

    pub fn conflict(&self, field: &str, reason: Reason) -> u64 {
        self.conflicts.get(field, reason)
    }

    /// Columns of events with their types, as `name type, …`.
    pub fn columns(&self) -> String {
        let of_events = self.schema.fields().iter().filter(|field| !columns::is_system(field.name()));
        of_events.map(|field| describe(field)).collect::<Vec<_>>().join(", ")
    }
}

fn describe(field: &Field) -> String {
    format!("{} {}", field.name(), type_name(field.data_type()))
}

fn type_name(of: &DataType) -> String {
    match of {
        DataType::Utf8 => "string".to_owned(),
        DataType::Int64 => "long".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::List(element) => format!("list<{}>", type_name(element.data_type())),
        DataType::Struct(fields) => {
            format!("struct<{}>", fields.iter().map(|field| describe(field)).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Lands `event` in a table whose columns come from `table`, and compares its row and residual.
#[track_caller]
pub fn check(table: &[&str], event: &str, wanted_row: &str, wanted_residual: Option<&str>) -> Table {
    let mut table = Table::of(table);
    let (row, residual) = table.land(event);
    assert_eq!(row, wanted_row, "row of {event}");
    assert_eq!(residual.as_deref(), wanted_residual, "residual of {event}");
    table
}
