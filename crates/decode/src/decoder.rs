//! Records into a batch of rows, and what is no event into a batch of dead letters.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Date32Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions,
    TimestampMicrosecondArray, new_null_array,
};
use arrow_schema::{DataType, Fields, Schema, SchemaRef};
use event::{PartitionId, Record, Records, TimestampMicros};

use crate::check::scan_event;
use crate::columns;
use crate::conflicts::{Conflicts, Reason};
use crate::dead::DeadLetters;
use crate::evidence::Discovered;
use crate::json::Kind;
use crate::level::{Leftovers, Level};
use crate::names::{Rules, Target};
use crate::options::{ColumnsError, DecodeOptions};
use crate::study::Study;
use crate::tape::{Tape, Value};
use crate::time::event_time;

/// What became of some records of one partition.
#[derive(Debug)]
pub struct Decoded {
    /// One row per event, with exactly the decoder's schema.
    pub rows: RecordBatch,
    /// One row per payload that is no event, with [`columns::dead_letter_schema`]; `None` without any.
    pub dead: Option<RecordBatch>,
    /// Records without a value (tombstones).
    pub skipped_count: u64,
    /// What was seen of fields that have no column. When it is not empty, decoding the same
    /// records again with [`Discovered::extend`]'s schema puts more into columns.
    pub discovered: Discovered,
    /// What did not fit. Of records that are decoded again, only the last count is the true one.
    pub conflicts: Conflicts,
}

/// Why a table's schema cannot take events.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A system column is not there.
    #[error(
        "the table has no column {name:?}: it was not made by Laker, or the column was dropped; use another table"
    )]
    Missing {
        /// The column.
        name: &'static str,
    },
    /// A system column has another type.
    #[error("column {name:?} of the table is {found}, and must be {wanted}; use another table")]
    WrongType {
        /// The column.
        name: &'static str,
        /// The type it has.
        found: DataType,
        /// The type it must have.
        wanted: DataType,
    },
    /// A column that events may leave out must not be null.
    #[error("column {name:?} of the table may not be null, and not every event has it; make it nullable")]
    NotNullable {
        /// The column.
        name: String,
    },
    /// A column by hand cannot be one.
    #[error(transparent)]
    Columns(#[from] ColumnsError),
}

/// Decodes records into rows of one schema.
#[derive(Debug)]
pub struct Decoder {
    options: Arc<DecodeOptions>,
    schema: SchemaRef,
    level: Level,
    time: Option<u32>,
    id: Option<u32>,
    tape: Tape,
    fixed: FixedColumns,
    left: Leftovers,
}

/// System columns that no row leaves out.
#[derive(Debug, Default)]
struct FixedColumns {
    offsets: Vec<i64>,
    received_at: Vec<i64>,
    times: Vec<i64>,
    dates: Vec<i32>,
}

impl Decoder {
    /// A decoder into `schema`, the table's or the initial one.
    ///
    /// # Errors
    /// [`DecodeError`] when the schema cannot take events.
    pub fn new(options: Arc<DecodeOptions>, schema: SchemaRef) -> Result<Self, DecodeError> {
        options.check()?;
        check_system_columns(&schema)?;
        let fields: Fields =
            schema.fields().iter().filter(|field| !is_filled_by_us(field.name())).cloned().collect();
        if let Some(field) = fields.iter().find(|field| !field.is_nullable()) {
            return Err(DecodeError::NotNullable { name: field.name().clone() });
        }
        let open = columns::schema_leaf_count(&schema) < options.columns_max;
        let mut level =
            Level::new(&fields, Rules { top: true, depth: 1, depth_max: options.depth_max, open });
        let own_id = options.event_id.as_deref() == Some(columns::ID);
        if own_id {
            level.names.keep(columns::ID, Target::Id);
        }
        let id = options.event_id.as_deref().filter(|_| !own_id).map(|name| level.names.watch(name));
        let time = options.event_time.as_deref().map(|name| level.names.watch(name));
        Ok(Self {
            options,
            schema,
            level,
            time,
            id,
            tape: Tape::default(),
            fixed: FixedColumns::default(),
            left: Leftovers::default(),
        })
    }

    /// The schema of the rows.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Decodes all of `records`: each becomes a row, a dead letter, or is skipped.
    ///
    /// # Panics
    /// When the payloads have 2 GiB or more together: fetches are cut long before
    /// (`event::limits::FETCH_BYTES_MAX`), and Arrow's string offsets have 31 bits.
    pub fn decode(&mut self, partition: PartitionId, records: &Records) -> Decoded {
        assert!(records.payload_bytes() <= i32::MAX as usize, "records of 2 GiB or more in one decode");
        let mut dead = DeadLetters::default();
        let mut skipped_count = 0;
        for record in records.iter() {
            match record.payload {
                None => skipped_count += 1,
                Some(payload) => self.payload(partition, record, payload, &mut dead),
            }
        }
        Decoded {
            rows: self.finish(partition),
            dead: dead.finish(partition),
            skipped_count,
            discovered: self.left.discovery.take(),
            conflicts: std::mem::take(&mut self.left.conflicts),
        }
    }

    fn payload<'a>(
        &mut self,
        partition: PartitionId,
        record: Record<'_>,
        payload: &'a [u8],
        dead: &mut DeadLetters<'a>,
    ) {
        let text = match scan_event(payload, self.options.limits(), &mut self.tape) {
            Ok(text) => text,
            Err(reason) => return dead.push(record, payload, &reason),
        };
        let event = self.tape.root(text);
        let row = self.fixed.offsets.len();
        self.level.resolve(event, &mut self.left);
        let value_of = |slot: Option<u32>| {
            let place = self.level.names.place_of(slot?)?;
            let key = event.at(self.left.resolved[place].key);
            Some((key, event.at(key.index() + 1)))
        };
        let (time, id) = (value_of(self.time), value_of(self.id));
        let time = read_time(time, record.received_at, &self.options, &mut self.left);
        if let Some((_, id)) = id {
            push_id_of(row, id, &mut self.left);
        }
        let study =
            Study { offset: record.offset.0, partition: partition.0, depth_max: self.options.depth_max };
        self.level.push(row, event, &mut self.left, study);
        self.left.residual.end_row(row);
        self.fixed.push(record, time);
    }

    fn finish(&mut self, partition: PartitionId) -> RecordBatch {
        let row_count = self.fixed.offsets.len();
        let mut system = self.fixed.finish(partition);
        system.insert(columns::ID, self.left.ids.finish(row_count));
        system.insert(columns::RESIDUAL, self.left.residual.finish(row_count));
        if let Ok(field) = self.schema.field_with_name(columns::REPLAYED_AT) {
            system.insert(columns::REPLAYED_AT, new_null_array(field.data_type(), row_count));
        }
        let mut of_events = self.level.finish(row_count).into_iter();
        let arrays = self.schema.fields().iter().map(|field| {
            let array = system.remove(field.name().as_str()).or_else(|| of_events.next());
            array.expect("each field is a system column or has one of the event's")
        });
        let arrays = arrays.collect();
        let options = RecordBatchOptions::new().with_row_count(Some(row_count));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .expect("each array was made from its field and filled to the same length")
    }
}

/// The event's time if it says one that can be read, else when the log took it.
fn read_time(
    said: Option<(Value<'_>, Value<'_>)>,
    received_at: TimestampMicros,
    options: &DecodeOptions,
    left: &mut Leftovers,
) -> TimestampMicros {
    let Some((key, value)) = said.filter(|(_, value)| !value.is_null()) else { return received_at };
    match event_time(value, options.time_zone) {
        Some(micros) => TimestampMicros(micros),
        None => {
            left.count(key, Reason::EventTimeUnreadable);
            received_at
        }
    }
}

/// Fills `_id` from a field that also has its own column: a string, or the text of an integer.
fn push_id_of(row: usize, value: Value<'_>, left: &mut Leftovers) {
    if let Some(text) = value.string() {
        left.ids.push(row, &text);
    } else if value.kind() == Kind::Integer {
        left.ids.push(row, value.raw());
    }
}

impl FixedColumns {
    fn push(&mut self, record: Record<'_>, time: TimestampMicros) {
        self.offsets.push(offset_of(record));
        self.received_at.push(record.received_at.0);
        self.times.push(time.0);
        self.dates.push(time.day());
    }

    fn finish(&mut self, partition: PartitionId) -> HashMap<&'static str, ArrayRef> {
        let row_count = self.offsets.len();
        let all = std::mem::take(self);
        let columns: [(&str, ArrayRef); 5] = [
            (columns::PARTITION, partition_column(partition, row_count)),
            (columns::OFFSET, Arc::new(Int64Array::from(all.offsets))),
            (columns::RECEIVED_AT, timestamps(all.received_at)),
            (columns::TIME, timestamps(all.times)),
            (columns::EVENT_DATE, Arc::new(Date32Array::from(all.dates))),
        ];
        columns.into()
    }
}

pub(crate) fn offset_of(record: Record<'_>) -> i64 {
    i64::try_from(record.offset.0).expect("logs count offsets in 63 bits")
}

pub(crate) fn partition_column(partition: PartitionId, row_count: usize) -> ArrayRef {
    let number = i32::try_from(partition.0)
        .expect("Kafka numbers partitions in 31 bits, and so does the embedded log");
    Arc::new(Int32Array::from(vec![number; row_count]))
}

pub(crate) fn timestamps(micros: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
}

fn is_filled_by_us(name: &str) -> bool {
    name == columns::REPLAYED_AT || columns::SYSTEM.contains(&name)
}

fn check_system_columns(schema: &Schema) -> Result<(), DecodeError> {
    for name in columns::SYSTEM {
        let field = schema.field_with_name(name).map_err(|_| DecodeError::Missing { name })?;
        let wanted = columns::system_field(name).data_type().clone();
        if *field.data_type() != wanted {
            return Err(DecodeError::WrongType { name, found: field.data_type().clone(), wanted });
        }
        let optional = name == columns::ID || name == columns::RESIDUAL;
        if optional && !field.is_nullable() {
            return Err(DecodeError::NotNullable { name: name.to_owned() });
        }
    }
    Ok(())
}
