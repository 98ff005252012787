//! Table and tail as one table for DataFusion.
//!
//! The files are read by DataFusion's own Parquet source. A file may be older than the table's
//! newest columns, or nested fields: those read as null.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use object_store::ObjectMeta;
use table::{DataFile, Layout};

use crate::prune;

/// Files × columns up to which each file's statistics travel with the plan, so that `ORDER BY …
/// LIMIT` can skip files while it runs. Beyond, the Parquet footers have to do.
const FILE_STATISTICS_MAX: usize = 100_000;

/// Name of the partition column.
pub(crate) const EVENT_DATE: &str = "event_date";

/// One version of a table, and the rows that have not landed in it.
pub(crate) struct LakeTable {
    /// Columns of the table and those that only the tail has yet.
    pub(crate) schema: SchemaRef,
    /// The table's files; none when there is no table yet.
    pub(crate) files: Vec<DataFile>,
    /// How they are laid out.
    pub(crate) layout: Layout,
    /// Rows from the log, of `schema`.
    pub(crate) tail: Vec<RecordBatch>,
    /// Where the files are.
    pub(crate) url: ObjectStoreUrl,
    /// What reads them.
    pub(crate) reader: Arc<CachedParquetFileReaderFactory>,
}

impl fmt::Debug for LakeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakeTable")
            .field("files", &self.files.len())
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let predicate = self.predicate(state, filters)?;
        let files = prune::kept(&self.files, predicate.as_ref(), &self.schema);
        let mut parts: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if !files.is_empty() {
            parts.push(self.scan_files(state, &files, projection, limit)?);
        }
        if !self.tail.is_empty() {
            let tail = std::slice::from_ref(&self.tail);
            parts.push(MemorySourceConfig::try_new_exec(tail, self.schema.clone(), projection.cloned())?);
        }
        match parts.len() {
            0 => Ok(Arc::new(EmptyExec::new(self.projected(projection)?))),
            1 => Ok(parts.remove(0)),
            _ => UnionExec::try_new(parts),
        }
    }
}

impl LakeTable {
    /// The filters as one expression over the table's columns.
    fn predicate(&self, state: &dyn Session, filters: &[Expr]) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let Some(filter) = conjunction(filters.to_vec()) else { return Ok(None) };
        let columns = DFSchema::try_from(self.schema.clone())?;
        state.create_physical_expr(filter, &columns).map(Some)
    }

    fn projected(&self, projection: Option<&Vec<usize>>) -> Result<SchemaRef> {
        Ok(match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        })
    }

    fn scan_files(
        &self,
        state: &dyn Session,
        files: &[&DataFile],
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = self.columns();
        let source = ParquetSource::new(columns.clone())
            .with_parquet_file_reader_factory(self.reader.clone() as Arc<dyn ParquetFileReaderFactory>);
        let groups = FileGroup::new(self.partitioned(files, &columns))
            .split_files(state.config_options().execution.target_partitions);
        let config = FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(row_statistics(files, columns.table_schema()))
            .with_limit(limit)
            .with_projection_indices(Some(self.positions(projection, columns.table_schema())?))?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// The columns as Parquet source wants them: those in the files, then the one in their paths.
    fn columns(&self) -> TableSchema {
        let in_path = |field: &&FieldRef| self.layout == Layout::ByEventDate && field.name() == EVENT_DATE;
        let (path, file): (Vec<_>, Vec<_>) = self.schema.fields().iter().partition(|field| in_path(field));
        let file = Schema::new(file.into_iter().cloned().collect::<Vec<FieldRef>>());
        let path: Vec<FieldRef> = path.into_iter().cloned().collect();
        TableSchema::builder(Arc::new(file)).with_table_partition_cols(path).build()
    }

    /// Where the projected columns stand among `columns`.
    fn positions(&self, projection: Option<&Vec<usize>>, columns: &Schema) -> Result<Vec<usize>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let wanted = projection.unwrap_or(&all).iter().map(|index| self.schema.field(*index).name());
        wanted.map(|name| Ok(columns.index_of(name)?)).collect()
    }

    fn partitioned(&self, files: &[&DataFile], columns: &TableSchema) -> Vec<PartitionedFile> {
        let schema = columns.table_schema();
        let with_statistics = files.len().saturating_mul(schema.fields().len()) <= FILE_STATISTICS_MAX;
        let in_path = !columns.table_partition_cols().is_empty();
        let partitioned = files.iter().map(|file| {
            let mut entry = PartitionedFile::new_from_meta(meta(file));
            if in_path {
                entry.partition_values = vec![ScalarValue::Date32(file.event_date)];
            }
            if with_statistics {
                entry.statistics = Some(Arc::new(prune::file_statistics(file, schema)));
            }
            entry
        });
        partitioned.collect()
    }
}

/// A file never changes, so that its path and size tell a cached footer from a stale one.
fn meta(file: &DataFile) -> ObjectMeta {
    ObjectMeta {
        location: file.path.clone(),
        last_modified: DateTime::UNIX_EPOCH,
        size: file.size_bytes,
        e_tag: None,
        version: None,
    }
}

/// How many rows there are, where all files say so: `count(*)` then reads no file.
fn row_statistics(files: &[&DataFile], columns: &Schema) -> Statistics {
    let mut statistics = Statistics::new_unknown(columns);
    let rows: Option<u64> = files.iter().map(|file| file.row_count).sum();
    statistics.num_rows =
        rows.and_then(|rows| usize::try_from(rows).ok()).map_or(Precision::Absent, Precision::Exact);
    statistics
}
