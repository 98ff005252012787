//! `SHOW TABLES` and `DESCRIBE`.

use std::sync::Arc;

use arrow_array::{RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};

/// The names of all tables.
pub(crate) fn tables(names: &[String]) -> RecordBatch {
    text_columns([("table_name", names.to_vec())])
}

/// The columns of a table, with the types that `laker.toml` and other readers of the lake use.
pub(crate) fn columns(schema: &Schema) -> RecordBatch {
    let fields = schema.fields();
    text_columns([
        ("column_name", fields.iter().map(|field| field.name().clone()).collect()),
        ("data_type", fields.iter().map(|field| type_name(field.data_type())).collect()),
        ("is_nullable", fields.iter().map(|field| yes_or_no(field.is_nullable())).collect()),
    ])
}

fn yes_or_no(yes: bool) -> String {
    if yes { "YES" } else { "NO" }.to_owned()
}

fn text_columns<const N: usize>(columns: [(&str, Vec<String>); N]) -> RecordBatch {
    let fields = columns.iter().map(|(name, _)| Field::new(*name, DataType::Utf8, false));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, values)| Arc::new(StringArray::from(values)) as _);
    RecordBatch::try_new(schema, arrays.collect()).expect("all columns were made from one list")
}

/// A column's type in the words of the lake.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Int64 => "long".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(_, _) => "timestamp".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".to_owned(),
        DataType::Struct(fields) => {
            let fields =
                fields.iter().map(|field| format!("{}: {}", field.name(), type_name(field.data_type())));
            format!("struct<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::List(item) | DataType::LargeList(item) => format!("list<{}>", type_name(item.data_type())),
        other => other.to_string(),
    }
}
