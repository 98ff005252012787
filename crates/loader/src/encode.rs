//! Stage 4: columns become Parquet files.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Date32Type;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use event::{LogId, OffsetRange, OffsetRanges, PartitionId, limits};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use table::checksum;
use table::file::FileFooter;
use table::{EncodedFile, Layout};

use crate::batch::{Batch, BatchLabel, Counts};

/// Statistics of a finished file's columns.
mod stats;

/// A batch as files, and its dead letters still as columns: where their chain stands is known
/// only when they are committed.
#[derive(Debug)]
pub struct EncodedBatch {
    pub(crate) label: BatchLabel,
    pub(crate) ranges: OffsetRanges,
    pub(crate) schema: SchemaRef,
    pub(crate) files: Vec<EncodedFile>,
    pub(crate) dead: Vec<(PartitionId, RecordBatch)>,
    pub(crate) total: Counts,
    pub(crate) conflicts_count: u64,
}

/// Encodes a batch into the files its table wants.
pub(crate) fn encode(batch: Batch, layout: Layout, log: &LogId) -> Result<EncodedBatch, ParquetError> {
    let files = Encoder { batch_id: &batch.label.id, log, layout }.encode_rows(
        &batch.rows,
        &batch.schema,
        &batch.ranges,
        &batch.counts,
    )?;
    Ok(EncodedBatch {
        total: batch.total(),
        conflicts_count: batch.conflicts.iter().map(|(_, _, count)| count).sum(),
        label: batch.label,
        ranges: batch.ranges,
        schema: batch.schema,
        files,
        dead: batch.dead,
    })
}

/// Writes rows into files of one layout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoder<'a> {
    pub(crate) batch_id: &'a str,
    pub(crate) log: &'a LogId,
    pub(crate) layout: Layout,
}

impl Encoder<'_> {
    pub(crate) fn encode_rows(
        &self,
        rows: &[(PartitionId, RecordBatch)],
        schema: &SchemaRef,
        ranges: &OffsetRanges,
        counts: &BTreeMap<PartitionId, Counts>,
    ) -> Result<Vec<EncodedFile>, ParquetError> {
        match self.layout {
            Layout::ByEventDate => self.by_event_date(rows, schema, ranges),
            Layout::ByLogPartition => self.by_log_partition(rows, schema, ranges, counts),
        }
    }

    fn by_event_date(
        &self,
        rows: &[(PartitionId, RecordBatch)],
        schema: &SchemaRef,
        ranges: &OffsetRanges,
    ) -> Result<Vec<EncodedFile>, ParquetError> {
        let date_column = schema.index_of(decode::columns::EVENT_DATE)?;
        let file_schema = without_column(schema, date_column);
        let mut by_date: BTreeMap<i32, Vec<RecordBatch>> = BTreeMap::new();
        for (_, batch) in rows {
            for (date, part) in split_by_date(batch, date_column)? {
                by_date.entry(date).or_default().push(part);
            }
        }
        let mut files = Vec::with_capacity(by_date.len());
        for (date, batches) in by_date {
            let file = self.write(files.len(), &file_schema, &batches, ranges.clone(), properties())?;
            files.push(EncodedFile { event_date: Some(date), ..file });
        }
        Ok(files)
    }

    /// One file for each covered partition, also without rows: the file is the commit.
    fn by_log_partition(
        &self,
        rows: &[(PartitionId, RecordBatch)],
        schema: &SchemaRef,
        ranges: &OffsetRanges,
        counts: &BTreeMap<PartitionId, Counts>,
    ) -> Result<Vec<EncodedFile>, ParquetError> {
        let mut files = Vec::new();
        for (partition, range) in ranges.iter() {
            let batches: Vec<RecordBatch> =
                rows.iter().filter(|(of, _)| *of == partition).map(|(_, batch)| batch.clone()).collect();
            let footer = self.footer(partition, range, counts.get(&partition).copied().unwrap_or_default());
            let properties = properties().set_key_value_metadata(Some(key_values(&footer)));
            let ranges = OffsetRanges::from_iter([(partition, range)]);
            files.push(self.write(files.len(), schema, &batches, ranges, properties)?);
        }
        Ok(files)
    }

    fn footer(&self, partition: PartitionId, range: OffsetRange, counts: Counts) -> FileFooter {
        FileFooter {
            batch_id: self.batch_id.to_owned(),
            log: self.log.clone(),
            partition,
            range,
            row_count: counts.rows,
            dead_count: counts.dead,
            skipped_count: counts.skipped,
            gap: false,
        }
    }

    fn write(
        &self,
        index: usize,
        schema: &SchemaRef,
        batches: &[RecordBatch],
        ranges: OffsetRanges,
        properties: WriterPropertiesBuilder,
    ) -> Result<EncodedFile, ParquetError> {
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(schema), Some(properties.build()))?;
        for batch in batches {
            writer.write(batch)?;
        }
        let metadata = writer.close()?;
        checksum::seal(&mut bytes);
        Ok(EncodedFile {
            batch_id: self.batch_id.to_owned(),
            index: u32::try_from(index).map_err(|_| ParquetError::General("too many files".to_owned()))?,
            event_date: None,
            ranges,
            row_count: batches.iter().map(|batch| batch.num_rows() as u64).sum(),
            column_stats: stats::column_stats(&metadata, schema),
            bytes: bytes.into(),
        })
    }
}

/// zstd-1 is both faster and smaller than zstd-3 on events (`docs/performance.md`); row groups are
/// cut by bytes, so that wide and narrow tables cost a reader the same memory.
fn properties() -> WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(1).expect("1 is a zstd level");
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(Some(limits::ROW_GROUP_BYTES_MAX))
        .set_created_by(concat!("laker ", env!("CARGO_PKG_VERSION")).to_owned())
}

fn key_values(footer: &FileFooter) -> Vec<KeyValue> {
    let pairs = footer.pairs().into_iter().chain([checksum::unsealed()]);
    pairs.map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
}

fn without_column(schema: &SchemaRef, column: usize) -> SchemaRef {
    let fields = schema.fields().iter().enumerate().filter(|(index, _)| *index != column);
    Arc::new(Schema::new(fields.map(|(_, field)| Arc::clone(field)).collect::<Vec<_>>()))
}

/// Parts of `batch` by their date, without the date's column. Nearly always one.
fn split_by_date(batch: &RecordBatch, date_column: usize) -> Result<Vec<(i32, RecordBatch)>, ArrowError> {
    let dates = batch.column(date_column).as_primitive::<Date32Type>().values().clone();
    let mut rest = batch.clone();
    rest.remove_column(date_column);
    let Some(first) = dates.first().copied() else { return Ok(Vec::new()) };
    if dates.iter().all(|date| *date == first) {
        return Ok(vec![(first, rest)]);
    }
    let mut rows_by_date: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
    for (row, date) in (0_u32..).zip(dates.iter()) {
        rows_by_date.entry(*date).or_default().push(row);
    }
    let take = |(date, rows)| {
        arrow_select::take::take_record_batch(&rest, &UInt32Array::from(rows)).map(|part| (date, part))
    };
    rows_by_date.into_iter().map(take).collect()
}

#[cfg(test)]
mod tests {
    use arrow_array::{Date32Array, Int64Array};
    use arrow_schema::{DataType, Field};

    use super::*;

    fn batch(dates: &[i32], offsets: &[i64]) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("_offset", DataType::Int64, false),
            Field::new("event_date", DataType::Date32, false),
        ]);
        let columns: Vec<arrow_array::ArrayRef> =
            vec![Arc::new(Int64Array::from(offsets.to_vec())), Arc::new(Date32Array::from(dates.to_vec()))];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    #[test]
    fn each_row_goes_to_the_file_of_its_date_and_only_there() {
        let parts = split_by_date(&batch(&[3, 1, 3, 2], &[10, 11, 12, 13]), 1).unwrap();
        let got: Vec<(i32, Vec<i64>)> = parts
            .iter()
            .map(|(date, part)| {
                let offsets = part.column(0).as_primitive::<arrow_array::types::Int64Type>();
                (*date, offsets.values().to_vec())
            })
            .collect();
        assert_eq!(got, [(1, vec![11]), (2, vec![13]), (3, vec![10, 12])]);
    }

    #[test]
    fn rows_of_one_date_are_not_copied() {
        let parts = split_by_date(&batch(&[3, 3], &[10, 11]), 1).unwrap();
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].1.num_columns(), 1);
    }
}
