//! The schema as a JSON object on the lake: names and types in the words of the product.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct SchemaFile {
    columns: Vec<Column>,
}

#[derive(Serialize, Deserialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    column_type: ColumnType,
    nullable: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ColumnType {
    Int,
    Long,
    Double,
    Boolean,
    String,
    Binary,
    Date,
    Timestamp,
    Struct(Vec<Column>),
    List(Box<Column>),
}

/// The bytes of a schema object.
///
/// # Errors
/// Which column has a type that tables do not have.
pub(super) fn encode(schema: &Schema) -> Result<Vec<u8>, String> {
    let file = SchemaFile { columns: columns(schema.fields())? };
    let mut bytes = serde_json::to_vec_pretty(&file).map_err(|e| e.to_string())?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The schema in the bytes of a schema object.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn decode(bytes: &[u8]) -> Result<SchemaRef, String> {
    let file: SchemaFile = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    Ok(Arc::new(Schema::new(fields(&file.columns))))
}

fn columns(fields: &Fields) -> Result<Vec<Column>, String> {
    fields.iter().map(column).collect()
}

fn column(field: &FieldRef) -> Result<Column, String> {
    let column_type = match field.data_type() {
        DataType::Int32 => ColumnType::Int,
        DataType::Int64 => ColumnType::Long,
        DataType::Float64 => ColumnType::Double,
        DataType::Boolean => ColumnType::Boolean,
        DataType::Utf8 => ColumnType::String,
        DataType::Binary => ColumnType::Binary,
        DataType::Date32 => ColumnType::Date,
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => ColumnType::Timestamp,
        DataType::Struct(fields) => ColumnType::Struct(columns(fields)?),
        DataType::List(element) => ColumnType::List(Box::new(column(element)?)),
        other => return Err(format!("column {:?} has type {other}, which tables do not have", field.name())),
    };
    Ok(Column { name: field.name().clone(), column_type, nullable: field.is_nullable() })
}

fn fields(columns: &[Column]) -> Fields {
    columns.iter().map(field).collect()
}

fn field(column: &Column) -> FieldRef {
    let data_type = match &column.column_type {
        ColumnType::Int => DataType::Int32,
        ColumnType::Long => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::String => DataType::Utf8,
        ColumnType::Binary => DataType::Binary,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::Struct(columns) => DataType::Struct(fields(columns)),
        ColumnType::List(element) => DataType::List(field(element)),
    };
    Arc::new(Field::new(&column.name, data_type, column.nullable))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What older versions wrote must stay readable: this text is part of the format.
    const GOLDEN: &str = include_str!("../../tests/golden/schema.json");

    fn every_type() -> Schema {
        let field = |name: &str, of| Field::new(name, of, true);
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let nested =
            DataType::Struct(vec![field("id", DataType::Int64), field("vip", DataType::Boolean)].into());
        Schema::new(vec![
            Field::new("_partition", DataType::Int32, false),
            Field::new("_offset", DataType::Int64, false),
            Field::new("_time", utc, false),
            field("event_date", DataType::Date32),
            field("price", DataType::Float64),
            field("name", DataType::Utf8),
            field("raw", DataType::Binary),
            field("user", nested),
            field("tags", DataType::List(Arc::new(field("element", DataType::Utf8)))),
        ])
    }

    #[test]
    fn the_format_of_schema_objects_does_not_change() {
        assert_eq!(String::from_utf8(encode(&every_type()).unwrap()).unwrap(), GOLDEN);
        assert_eq!(*decode(GOLDEN.as_bytes()).unwrap(), every_type());
    }

    #[test]
    fn a_type_that_tables_do_not_have_is_named() {
        let schema = Schema::new(vec![Field::new("small", DataType::Int8, true)]);
        assert!(encode(&schema).unwrap_err().contains("\"small\" has type Int8"));
    }

    /// Every type that tables have, nested at will.
    fn any_type() -> impl Strategy<Value = DataType> {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let plain = prop::sample::select(vec![
            DataType::Int32,
            DataType::Int64,
            DataType::Float64,
            DataType::Boolean,
            DataType::Utf8,
            DataType::Binary,
            DataType::Date32,
            utc,
        ]);
        plain.prop_recursive(4, 24, 4, |inner| {
            let field =
                ("\\PC{0,8}", inner, any::<bool>()).prop_map(|(name, of, null)| Field::new(name, of, null));
            prop_oneof![
                prop::collection::vec(field.clone(), 0..4).prop_map(|fields| DataType::Struct(fields.into())),
                field.prop_map(|element| DataType::List(Arc::new(element))),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_schema_reads_back_as_it_was_written(columns in prop::collection::vec((".{0,12}", any_type(), any::<bool>()), 0..6)) {
            let fields: Vec<_> = columns.into_iter().map(|(name, of, null)| Field::new(name, of, null)).collect();
            let schema = Schema::new(fields);
            let read = decode(&encode(&schema).unwrap());
            prop_assert_eq!(read.as_deref(), Ok(&schema));
        }

        #[test]
        fn any_bytes_are_refused_or_read_but_never_a_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
