//! Small files with rows, and reading them back.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{
    Array as _, ArrayRef, Date32Array, Int32Array, Int64Array, ListArray, RecordBatch, StructArray,
    new_null_array,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use event::{Offset, OffsetRange, OffsetRanges, PartitionId};
use object_store::ObjectStoreExt as _;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::log;
use crate::checksum;
use crate::{ColumnStats, Commit, EncodedFile, FileFooter, Lake, Layout, Snapshot, StatValue, Table};

/// Rows lie on two days, so that a commit has several files where files go by day.
const DAYS: [i32; 2] = [20_000, 20_001];

/// A column that rows of the suite may have beside partition, offset and day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub data_type: DataType,
}

/// The columns that rows have beside partition, offset and day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns(pub Vec<Column>);

impl Columns {
    /// These and one more.
    #[must_use]
    pub fn and(&self, name: &'static str, data_type: DataType) -> Self {
        Self(self.0.iter().cloned().chain([Column { name, data_type }]).collect())
    }

    /// All columns of the table.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let mut fields = vec![
            Field::new("_partition", DataType::Int32, false),
            Field::new("_offset", DataType::Int64, false),
        ];
        fields.extend(self.0.iter().map(|column| Field::new(column.name, column.data_type.clone(), true)));
        fields.push(Field::new("event_date", DataType::Date32, true));
        Arc::new(Schema::new(fields))
    }
}

impl Columns {
    /// All columns that files by day have: the day is in their paths.
    fn without_day(&self) -> SchemaRef {
        let schema = self.schema();
        let without_day = schema.fields().iter().filter(|field| field.name() != "event_date").cloned();
        Arc::new(Schema::new(without_day.collect::<Vec<_>>()))
    }
}

/// A row as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Its partition.
    pub partition: PartitionId,
    /// Its offset.
    pub offset: u64,
}

/// A batch with one row per offset of `ranges`, its files stored.
pub(super) async fn batch(
    table: &dyn Table,
    columns: &Columns,
    batch_id: &str,
    ranges: &OffsetRanges,
) -> Commit {
    let encoded = match table.layout() {
        Layout::ByLogPartition => by_partition(columns, batch_id, ranges),
        Layout::ByEventDate => by_day(columns, batch_id, ranges),
    };
    let mut files = Vec::new();
    for file in encoded {
        files.push(table.store(file).await.expect("a file can be stored"));
    }
    Commit {
        batch_id: batch_id.to_owned(),
        log: log(),
        ranges: ranges.clone(),
        row_count: files.iter().map(|file| file.row_count).sum(),
        files,
        schema: columns.schema(),
        dead_count: 0,
        skipped_count: 0,
        gap: false,
    }
}

/// The replay numbered `number` of partition 0: one row, in the place of the dead letter at `offset`.
pub(super) async fn replay(
    table: &dyn Table,
    columns: &Columns,
    batch_id: &str,
    number: u64,
    offset: u64,
) -> Commit {
    let row = Row { partition: PartitionId(0), offset };
    let range = OffsetRange::new(Offset(number), Offset(number + 1));
    let ranges = OffsetRanges::from_iter([(row.partition, range)]);
    let log = log().replays();
    let file = match table.layout() {
        Layout::ByLogPartition => {
            let footer = FileFooter {
                batch_id: batch_id.to_owned(),
                log: log.clone(),
                partition: row.partition,
                range,
                row_count: 1,
                dead_count: 0,
                skipped_count: 0,
                gap: false,
            };
            let bytes = write(&columns.schema(), &[row], Some(&footer));
            encoded(batch_id, 0, None, ranges.clone(), &[row], bytes)
        }
        Layout::ByEventDate => {
            let bytes = write(&columns.without_day(), &[row], None);
            encoded(batch_id, 0, Some(day_of(row)), ranges.clone(), &[row], bytes)
        }
    };
    Commit {
        batch_id: batch_id.to_owned(),
        log,
        ranges,
        files: vec![table.store(file).await.expect("a file can be stored")],
        schema: columns.schema(),
        row_count: 1,
        dead_count: 0,
        skipped_count: 0,
        gap: false,
    }
}

fn by_partition(columns: &Columns, batch_id: &str, ranges: &OffsetRanges) -> Vec<EncodedFile> {
    let with_rows = ranges.iter().filter(|(_, range)| !range.is_empty()).enumerate();
    let encode = |(index, (partition, range)): (usize, (PartitionId, OffsetRange))| {
        let rows = rows_of(partition, range);
        let footer = FileFooter {
            batch_id: batch_id.to_owned(),
            log: log(),
            partition,
            range,
            row_count: rows.len() as u64,
            dead_count: 0,
            skipped_count: 0,
            gap: false,
        };
        let only = OffsetRanges::from_iter([(partition, range)]);
        encoded(batch_id, index, None, only, &rows, write(&columns.schema(), &rows, Some(&footer)))
    };
    with_rows.map(encode).collect()
}

fn by_day(columns: &Columns, batch_id: &str, ranges: &OffsetRanges) -> Vec<EncodedFile> {
    let rows: Vec<Row> = ranges.iter().flat_map(|(partition, range)| rows_of(partition, range)).collect();
    let schema = columns.without_day();
    let mut files = Vec::new();
    for day in DAYS {
        let of_day: Vec<Row> = rows.iter().copied().filter(|row| day_of(*row) == day).collect();
        if !of_day.is_empty() {
            let bytes = write(&schema, &of_day, None);
            files.push(encoded(batch_id, files.len(), Some(day), ranges.clone(), &of_day, bytes));
        }
    }
    files
}

fn encoded(
    batch_id: &str,
    index: usize,
    event_date: Option<i32>,
    ranges: OffsetRanges,
    rows: &[Row],
    bytes: Bytes,
) -> EncodedFile {
    let offset = |of: Option<u64>| of.and_then(|offset| i64::try_from(offset).ok()).map(StatValue::Long);
    let stats = ColumnStats {
        column: "_offset".to_owned(),
        min: offset(rows.iter().map(|row| row.offset).min()),
        max: offset(rows.iter().map(|row| row.offset).max()),
        null_count: Some(0),
    };
    EncodedFile {
        batch_id: batch_id.to_owned(),
        index: u32::try_from(index).expect("a batch of the suite has few files"),
        event_date,
        ranges,
        row_count: rows.len() as u64,
        bytes,
        column_stats: vec![stats],
    }
}

fn rows_of(partition: PartitionId, range: OffsetRange) -> Vec<Row> {
    (range.start().0..range.end().0).map(|offset| Row { partition, offset }).collect()
}

fn day_of(row: Row) -> i32 {
    DAYS[usize::from(row.offset % 2 == 1)]
}

/// Numbers are offsets, all other leaves null; objects are there, lists have one element.
fn values(of: &DataType, rows: &[Row]) -> ArrayRef {
    match of {
        DataType::Int64 => Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.offset as i64))),
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|field| values(field.data_type(), rows)).collect();
            Arc::new(StructArray::new(fields.clone(), columns, None))
        }
        DataType::List(element) => {
            let lengths = OffsetBuffer::from_lengths(rows.iter().map(|_| 1));
            Arc::new(ListArray::new(Arc::clone(element), lengths, values(element.data_type(), rows), None))
        }
        other => new_null_array(other, rows.len()),
    }
}

fn write(schema: &SchemaRef, rows: &[Row], footer: Option<&FileFooter>) -> Bytes {
    let column = |field: &Arc<Field>| -> ArrayRef {
        match field.name().as_str() {
            "_partition" => {
                Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.partition.0 as i32)))
            }
            "_offset" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.offset as i64))),
            "event_date" => Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| day_of(*row)))),
            _ => values(field.data_type(), rows),
        }
    };
    let batch = RecordBatch::try_new(Arc::clone(schema), schema.fields().iter().map(column).collect());
    let pairs = footer.map(|footer| {
        let pairs = footer.pairs().into_iter().chain([checksum::unsealed()]);
        pairs.map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
    });
    let properties = WriterProperties::builder().set_key_value_metadata(pairs).build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties)).expect("a schema of ours");
    writer.write(&batch.expect("columns of one length")).expect("writing to memory");
    let mut bytes = writer.into_inner().expect("writing to memory");
    checksum::seal(&mut bytes);
    bytes.into()
}

/// All rows of `snapshot`, in order. What it says of its files must be so.
pub(super) async fn read(lake: &Lake, snapshot: &Snapshot) -> Vec<Row> {
    let mut rows = Vec::new();
    for file in &snapshot.files {
        let found = lake.store().get(&file.path).await.expect("a live file exists");
        let bytes = found.bytes().await.expect("a live file can be read");
        assert_eq!(bytes.len() as u64, file.size_bytes, "size of {}", file.path);
        let of_file = read_rows(bytes);
        if let Some(row_count) = file.row_count {
            assert_eq!(of_file.len() as u64, row_count, "rows of {}", file.path);
        }
        for row in &of_file {
            assert!(file.event_date.is_none_or(|day| day == day_of(*row)), "day of {}", file.path);
        }
        rows.extend(of_file);
    }
    rows.sort();
    rows
}

fn read_rows(bytes: Bytes) -> Vec<Row> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a live file is Parquet");
    let mut rows = Vec::new();
    for batch in reader.build().expect("a live file is Parquet") {
        let batch = batch.expect("a live file is Parquet");
        let partitions =
            batch.column_by_name("_partition").expect("it has partitions").as_primitive::<Int32Type>();
        let offsets = batch.column_by_name("_offset").expect("it has offsets").as_primitive::<Int64Type>();
        let row = |index| Row {
            partition: PartitionId(partitions.value(index) as u32),
            offset: offsets.value(index) as u64,
        };
        rows.extend((0..batch.num_rows()).map(row));
        assert_eq!(offsets.null_count(), 0);
    }
    rows
}
