//! Merging schemas forward, never back.
//!
//! A table's schema only grows: columns and nested fields are added, always nullable, none is
//! removed or given another type. So a file written under an older schema stays readable as it is.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

/// One column has two types.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column:?} is {have} in the table and {other} in the batch")]
pub struct SchemaConflict {
    /// Path of the column, nested names joined by dots.
    pub column: String,
    /// Its type in the table.
    pub have: String,
    /// The other type.
    pub other: String,
}

/// `have` with what `newer` adds: new columns behind the ones that are there, new nested fields
/// behind their siblings. Everything that is added is nullable, since older rows lack it.
///
/// # Errors
/// [`SchemaConflict`] when a column has another type in `newer`.
pub fn merge(have: &Schema, newer: &Schema) -> Result<SchemaRef, SchemaConflict> {
    let fields = merge_fields("", have.fields(), newer.fields())?;
    Ok(Arc::new(Schema::new_with_metadata(fields, have.metadata().clone())))
}

/// Whether `have` has every column and nested field of `of` with the same type, so that a file
/// with schema `of` may be added without changing anything.
#[must_use]
pub fn is_superset(have: &Schema, of: &Schema) -> bool {
    fields_cover(have.fields(), of.fields())
}

fn fields_cover(have: &Fields, of: &Fields) -> bool {
    of.iter().all(|field| {
        let known = have.iter().find(|h| h.name() == field.name());
        known.is_some_and(|known| type_covers(known.data_type(), field.data_type()))
    })
}

fn type_covers(have: &DataType, of: &DataType) -> bool {
    match (have, of) {
        (DataType::Struct(have), DataType::Struct(of)) => fields_cover(have, of),
        (DataType::List(have), DataType::List(of)) => type_covers(have.data_type(), of.data_type()),
        _ => have == of,
    }
}

fn merge_fields(parent: &str, have: &Fields, newer: &Fields) -> Result<Fields, SchemaConflict> {
    let mut merged: Vec<FieldRef> = have.iter().cloned().collect();
    for field in newer {
        match merged.iter_mut().find(|known| known.name() == field.name()) {
            Some(known) => *known = merge_field(parent, known, field)?,
            None => merged.push(nullable(field)),
        }
    }
    Ok(merged.into())
}

fn merge_field(parent: &str, have: &FieldRef, newer: &FieldRef) -> Result<FieldRef, SchemaConflict> {
    let path = join(parent, have.name());
    let merged = merge_type(&path, have.data_type(), newer.data_type())?;
    if merged == *have.data_type() {
        return Ok(Arc::clone(have));
    }
    Ok(Arc::new(have.as_ref().clone().with_data_type(merged)))
}

fn merge_type(path: &str, have: &DataType, newer: &DataType) -> Result<DataType, SchemaConflict> {
    match (have, newer) {
        (DataType::Struct(have), DataType::Struct(newer)) => {
            Ok(DataType::Struct(merge_fields(path, have, newer)?))
        }
        (DataType::List(have), DataType::List(newer)) => {
            let element = merge_type(&join(path, "element"), have.data_type(), newer.data_type())?;
            Ok(DataType::List(Arc::new(have.as_ref().clone().with_data_type(element))))
        }
        _ if have == newer => Ok(have.clone()),
        _ => {
            Err(SchemaConflict { column: path.to_owned(), have: have.to_string(), other: newer.to_string() })
        }
    }
}

fn nullable(field: &Field) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|f| nullable(f)).collect()),
        DataType::List(element) => DataType::List(nullable(element)),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, true))
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(fields: &[(&str, DataType)]) -> DataType {
        DataType::Struct(fields.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect())
    }

    fn list(of: DataType) -> DataType {
        DataType::List(Arc::new(Field::new("element", of, true)))
    }

    fn schema(fields: &[(&str, DataType)]) -> Schema {
        Schema::new(fields.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect::<Vec<_>>())
    }

    fn names(schema: &Schema) -> Vec<&str> {
        schema.fields().iter().map(|f| f.name().as_str()).collect()
    }

    #[test]
    fn new_columns_come_behind_the_old_ones_and_are_nullable() {
        let have = Schema::new(vec![Field::new("_offset", DataType::Int64, false)]);
        let newer = Schema::new(vec![
            Field::new("price", DataType::Float64, false),
            Field::new("_offset", DataType::Int64, true),
        ]);
        let merged = merge(&have, &newer).unwrap();
        assert_eq!(names(&merged), ["_offset", "price"]);
        assert!(!merged.field(0).is_nullable(), "a required column stays required");
        assert!(merged.field(1).is_nullable(), "older rows lack it");
    }

    #[test]
    fn nested_fields_are_added_in_structs_and_in_lists_of_structs() {
        let have = schema(&[
            ("user", object(&[("id", DataType::Int64)])),
            ("items", list(object(&[("sku", DataType::Utf8)]))),
        ]);
        let newer = schema(&[
            ("items", list(object(&[("count", DataType::Int64)]))),
            ("user", object(&[("name", DataType::Utf8)])),
        ]);
        let merged = merge(&have, &newer).unwrap();
        let expected = schema(&[
            ("user", object(&[("id", DataType::Int64), ("name", DataType::Utf8)])),
            ("items", list(object(&[("sku", DataType::Utf8), ("count", DataType::Int64)]))),
        ]);
        assert_eq!(*merged, expected);
        assert!(is_superset(&merged, &have) && is_superset(&merged, &newer));
        assert!(!is_superset(&have, &newer) && !is_superset(&newer, &have));
    }

    #[test]
    fn merging_what_is_known_changes_nothing() {
        let have =
            schema(&[("a", object(&[("b", DataType::Int64), ("c", DataType::Utf8)])), ("d", DataType::Utf8)]);
        let part = schema(&[("a", object(&[("c", DataType::Utf8)]))]);
        assert!(is_superset(&have, &part));
        assert_eq!(*merge(&have, &part).unwrap(), have);
    }

    #[test]
    fn another_type_is_refused_and_the_nested_column_named() {
        let have = schema(&[("user", object(&[("ids", list(DataType::Int64))]))]);
        let newer = schema(&[("user", object(&[("ids", list(DataType::Utf8))]))]);
        let refused = merge(&have, &newer).unwrap_err();
        assert_eq!(refused.column, "user.ids.element");
        assert_eq!((refused.have.as_str(), refused.other.as_str()), ("Int64", "Utf8"));
    }
}
