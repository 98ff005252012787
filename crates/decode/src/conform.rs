//! Rows of an earlier schema under a later one.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array};
use arrow_schema::{DataType, Fields, SchemaRef};

/// `batch` with the columns of `schema`, in its order: columns, and fields of struct columns, that
/// the batch lacks are null.
///
/// # Panics
/// When `schema` is no extension of the batch's: it lacks one of its columns, has one with another
/// type, or adds one that may not be null. [`crate::Discovered::extend`] never gives such a one.
#[must_use]
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    if batch.schema_ref() == schema {
        return batch.clone();
    }
    let arrays =
        conform_fields(batch.schema_ref().fields(), batch.columns(), schema.fields(), batch.num_rows());
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
        .expect("the caller's schema extends the batch's, so what is added may be null")
}

fn conform_fields(had: &Fields, arrays: &[ArrayRef], wanted: &Fields, row_count: usize) -> Vec<ArrayRef> {
    for field in had {
        assert!(
            wanted.find(field.name()).is_some(),
            "column {:?} is not in the schema to conform to",
            field.name()
        );
    }
    let conformed = wanted.iter().map(|field| match had.find(field.name()) {
        Some((index, _)) => conform_array(&arrays[index], field.data_type()),
        None => new_null_array(field.data_type(), row_count),
    });
    conformed.collect()
}

fn conform_array(array: &ArrayRef, wanted: &DataType) -> ArrayRef {
    match (array.data_type(), wanted) {
        (had, wanted) if had == wanted => array.clone(),
        (DataType::Struct(had), DataType::Struct(fields)) => {
            let of = array.as_struct();
            let columns = conform_fields(had, of.columns(), fields, of.len());
            let nulls = of.nulls().cloned();
            let conformed = StructArray::try_new_with_length(fields.clone(), columns, nulls, of.len());
            Arc::new(
                conformed.expect("the caller's schema extends the batch's, so what is added may be null"),
            )
        }
        (DataType::List(_), DataType::List(element)) => {
            let list = array.as_list::<i32>();
            let values = conform_array(list.values(), element.data_type());
            Arc::new(ListArray::new(element.clone(), list.offsets().clone(), values, list.nulls().cloned()))
        }
        (had, wanted) => panic!("a column of {had} cannot become one of {wanted}"),
    }
}
