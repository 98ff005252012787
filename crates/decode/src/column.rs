//! Columns as they grow: one value per row, nulls filled in when the next value comes.
//!
//! A value is pushed for a row; rows between it and the one before are null. So a table of a
//! thousand columns costs an event with ten fields ten pushes. A push that fails leaves nothing.

use std::sync::Arc;

use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, ListArray, PrimitiveArray, StringArray, StructArray,
    new_null_array,
};
use arrow_buffer::{BooleanBufferBuilder, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, FieldRef, Fields};

use crate::conflicts::Reason;
use crate::json::Kind;
use crate::names::{Names, Resolved, Rules, Target};
use crate::number;
use crate::tape::Value;
use crate::text::unescape;

/// A column of an event's field, of any level.
#[derive(Debug)]
pub(crate) enum Column {
    Text(TextColumn),
    Long(PrimitiveColumn<Int64Type>),
    Double(PrimitiveColumn<Float64Type>),
    Boolean(BooleanColumn),
    Struct(StructColumn),
    List(ListColumn),
    /// A column of a type that we never make: values of its name stay in the residual.
    Foreign(DataType),
}

impl Column {
    /// An empty column. `rules` are those of the level it is in.
    pub(crate) fn new(of: &DataType, rules: Rules) -> Self {
        let inside = Rules { top: false, depth: rules.depth + 1, ..rules };
        match of {
            DataType::Utf8 => Self::Text(TextColumn::default()),
            DataType::Int64 => Self::Long(PrimitiveColumn::default()),
            DataType::Float64 => Self::Double(PrimitiveColumn::default()),
            DataType::Boolean => Self::Boolean(BooleanColumn::default()),
            DataType::Struct(fields) if fields.iter().all(|field| field.is_nullable()) => {
                Self::Struct(StructColumn::new(fields, inside))
            }
            DataType::List(element) if element.is_nullable() => Self::List(ListColumn::new(element, inside)),
            other => Self::Foreign(other.clone()),
        }
    }

    /// Puts `value`, which is not null, into `row`: all of it, or nothing. An object is put in
    /// whole only as an element of a list.
    pub(crate) fn push(
        &mut self,
        row: usize,
        value: Value<'_>,
        scratch: &mut Vec<Resolved>,
    ) -> Result<(), Reason> {
        match self {
            Self::Text(column) => column.push_value(row, value),
            Self::Long(column) => long(value).map(|value| column.push(row, value)),
            Self::Double(column) => double(value).map(|value| column.push(row, value)),
            Self::Boolean(column) => boolean(value).map(|value| column.push(row, value)),
            Self::Struct(column) => column.push(row, value, scratch),
            Self::List(column) => column.push(row, value, scratch),
            Self::Foreign(_) => Err(Reason::WrongType),
        }
    }

    /// Whether a column of no struct and no list could take `value`.
    pub(crate) fn takes(&self, value: Value<'_>) -> Result<(), Reason> {
        match self {
            Self::Text(_) => text(value).map(drop),
            Self::Long(_) => long(value).map(drop),
            Self::Double(_) => double(value).map(drop),
            Self::Boolean(_) => boolean(value).map(drop),
            Self::Struct(_) | Self::List(_) | Self::Foreign(_) => Err(Reason::WrongType),
        }
    }

    /// Forgets rows from `row_count` on.
    fn truncate(&mut self, row_count: usize) {
        match self {
            Self::Text(column) => column.truncate(row_count),
            Self::Long(column) => column.truncate(row_count),
            Self::Double(column) => column.truncate(row_count),
            Self::Boolean(column) => column.truncate(row_count),
            Self::Struct(column) => column.truncate(row_count),
            Self::List(column) => column.truncate(row_count),
            Self::Foreign(_) => {}
        }
    }

    /// The rows pushed since the last time, filled up to `row_count`.
    pub(crate) fn finish(&mut self, row_count: usize) -> ArrayRef {
        match self {
            Self::Text(column) => column.finish(row_count),
            Self::Long(column) => column.finish(row_count),
            Self::Double(column) => column.finish(row_count),
            Self::Boolean(column) => column.finish(row_count),
            Self::Struct(column) => column.finish(row_count),
            Self::List(column) => column.finish(row_count),
            Self::Foreign(of) => new_null_array(of, row_count),
        }
    }
}

fn text(value: Value<'_>) -> Result<(), Reason> {
    match value.kind() {
        Kind::Text => Ok(()),
        Kind::Escaped if value.string().is_some() => Ok(()),
        Kind::Escaped => Err(Reason::LoneSurrogate),
        _ => Err(Reason::WrongType),
    }
}

/// Only digits are an integer: `1.0` and `1e2` say that the sender has fractions there.
fn long(value: Value<'_>) -> Result<i64, Reason> {
    match value.kind() {
        Kind::Integer => number::long(value.raw()),
        Kind::Decimal => Err(Reason::Fraction),
        _ => Err(Reason::WrongType),
    }
}

fn double(value: Value<'_>) -> Result<f64, Reason> {
    match value.kind() {
        Kind::Integer => number::double_of_integer(value.raw()),
        Kind::Decimal => number::double(value.raw()),
        _ => Err(Reason::WrongType),
    }
}

fn boolean(value: Value<'_>) -> Result<bool, Reason> {
    match value.kind() {
        Kind::True => Ok(true),
        Kind::False => Ok(false),
        _ => Err(Reason::WrongType),
    }
}

/// Which rows have a value.
#[derive(Debug)]
struct Validity(NullBufferBuilder);

impl Default for Validity {
    fn default() -> Self {
        Self(NullBufferBuilder::new(0))
    }
}

impl Validity {
    /// Adds nulls before `row`; returns how many.
    fn pad(&mut self, row: usize) -> usize {
        let missing = row - self.0.len();
        if missing > 0 {
            self.0.append_n_nulls(missing);
        }
        missing
    }

    fn take(&mut self) -> NullBufferBuilder {
        std::mem::take(self).0
    }
}

/// Strings.
#[derive(Debug, Default)]
pub(crate) struct TextColumn {
    values: String,
    ends: Vec<i32>,
    validity: Validity,
}

impl TextColumn {
    pub(crate) fn push(&mut self, row: usize, text: &str) {
        self.pad(row);
        self.values.push_str(text);
        self.end();
    }

    fn push_value(&mut self, row: usize, value: Value<'_>) -> Result<(), Reason> {
        match value.kind() {
            Kind::Text => self.push(row, value.between_quotes()),
            Kind::Escaped => {
                self.pad(row);
                if !unescape(value.between_quotes(), &mut self.values) {
                    return Err(Reason::LoneSurrogate);
                }
                self.end();
            }
            _ => return Err(Reason::WrongType),
        }
        Ok(())
    }

    fn end(&mut self) {
        self.ends.push(offset(self.values.len()));
        self.validity.0.append_non_null();
    }

    fn pad(&mut self, row: usize) {
        let missing = self.validity.pad(row);
        if missing > 0 {
            let last = self.ends.last().copied().unwrap_or(0);
            self.ends.resize(row, last);
        }
    }

    fn truncate(&mut self, row_count: usize) {
        if row_count < self.ends.len() {
            self.ends.truncate(row_count);
            self.values.truncate(self.ends.last().map_or(0, |end| *end as usize));
            self.validity.0.truncate(row_count);
        }
    }

    pub(crate) fn finish(&mut self, row_count: usize) -> ArrayRef {
        self.pad(row_count);
        let (bytes, rows) = (self.values.len(), self.ends.len());
        let values = std::mem::replace(&mut self.values, String::with_capacity(bytes));
        let ends = std::mem::replace(&mut self.ends, Vec::with_capacity(rows));
        let nulls = self.validity.take().build();
        Arc::new(StringArray::new(offsets(&ends), values.into_bytes().into(), nulls))
    }
}

fn offset(position: usize) -> i32 {
    i32::try_from(position).expect("Decoder::decode refuses records of 2 GiB and more")
}

fn offsets(ends: &[i32]) -> OffsetBuffer<i32> {
    let all: Vec<i32> = std::iter::once(0).chain(ends.iter().copied()).collect();
    OffsetBuffer::new(ScalarBuffer::from(all))
}

/// Numbers.
#[derive(Debug)]
pub(crate) struct PrimitiveColumn<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    validity: Validity,
}

impl<T: ArrowPrimitiveType> Default for PrimitiveColumn<T> {
    fn default() -> Self {
        Self { values: Vec::new(), validity: Validity::default() }
    }
}

impl<T: ArrowPrimitiveType> PrimitiveColumn<T> {
    fn push(&mut self, row: usize, value: T::Native) {
        self.pad(row);
        self.values.push(value);
        self.validity.0.append_non_null();
    }

    fn pad(&mut self, row: usize) {
        if self.validity.pad(row) > 0 {
            self.values.resize(row, T::Native::default());
        }
    }

    fn truncate(&mut self, row_count: usize) {
        if row_count < self.values.len() {
            self.values.truncate(row_count);
            self.validity.0.truncate(row_count);
        }
    }

    fn finish(&mut self, row_count: usize) -> ArrayRef {
        self.pad(row_count);
        let capacity = self.values.len();
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(capacity));
        Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), self.validity.take().build()))
    }
}

/// True and false.
#[derive(Debug)]
pub(crate) struct BooleanColumn {
    values: BooleanBufferBuilder,
    validity: Validity,
}

impl Default for BooleanColumn {
    fn default() -> Self {
        Self { values: BooleanBufferBuilder::new(0), validity: Validity::default() }
    }
}

impl BooleanColumn {
    fn push(&mut self, row: usize, value: bool) {
        self.pad(row);
        self.values.append(value);
        self.validity.0.append_non_null();
    }

    fn pad(&mut self, row: usize) {
        let missing = self.validity.pad(row);
        self.values.append_n(missing, false);
    }

    fn truncate(&mut self, row_count: usize) {
        if row_count < self.values.len() {
            self.values.truncate(row_count);
            self.validity.0.truncate(row_count);
        }
    }

    fn finish(&mut self, row_count: usize) -> ArrayRef {
        self.pad(row_count);
        Arc::new(BooleanArray::new(self.values.finish(), self.validity.take().build()))
    }
}

/// Objects.
#[derive(Debug)]
pub(crate) struct StructColumn {
    fields: Fields,
    pub(crate) names: Names,
    pub(crate) columns: Vec<Column>,
    validity: Validity,
}

impl StructColumn {
    /// `rules` are those of its own fields.
    fn new(fields: &Fields, rules: Rules) -> Self {
        Self {
            fields: fields.clone(),
            names: Names::new(fields, rules),
            columns: fields.iter().map(|field| Column::new(field.data_type(), rules)).collect(),
            validity: Validity::default(),
        }
    }

    /// Makes `row` an object; its fields are null until something is pushed into them.
    pub(crate) fn begin(&mut self, row: usize) {
        self.validity.pad(row);
        self.validity.0.append_non_null();
    }

    /// Only for elements of lists. When it fails, fields may be left of it, which the list cuts off.
    fn push(&mut self, row: usize, value: Value<'_>, scratch: &mut Vec<Resolved>) -> Result<(), Reason> {
        if value.kind() != Kind::Object {
            return Err(Reason::WrongType);
        }
        if value.is_empty() {
            return Err(Reason::EmptyObject);
        }
        let base = scratch.len();
        self.names.resolve(value, scratch);
        let end = scratch.len();
        let pushed = (base..end).try_for_each(|at| {
            let Resolved { key, target } = scratch[at];
            self.push_field(row, value.at(key + 1), target, scratch)
        });
        scratch.truncate(base);
        pushed?;
        self.begin(row);
        Ok(())
    }

    fn push_field(
        &mut self,
        row: usize,
        value: Value<'_>,
        target: Target,
        scratch: &mut Vec<Resolved>,
    ) -> Result<(), Reason> {
        match target {
            _ if value.is_null() => Ok(()),
            Target::Shadowed => Ok(()),
            Target::Column(index) => self.columns[index as usize].push(row, value, scratch),
            Target::Refused(reason) => Err(reason),
            Target::Unknown | Target::Id => Err(Reason::ArrayElements),
        }
    }

    fn truncate(&mut self, row_count: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(row_count));
        if row_count < self.validity.0.len() {
            self.validity.0.truncate(row_count);
        }
    }

    fn finish(&mut self, row_count: usize) -> ArrayRef {
        self.validity.pad(row_count);
        let columns: Vec<_> = self.columns.iter_mut().map(|column| column.finish(row_count)).collect();
        let nulls = self.validity.take().build();
        let array = StructArray::try_new_with_length(self.fields.clone(), columns, nulls, row_count);
        Arc::new(array.expect("each column was made from its field, nullable, and filled to the same length"))
    }
}

/// Arrays.
#[derive(Debug)]
pub(crate) struct ListColumn {
    field: FieldRef,
    pub(crate) element: Box<Column>,
    ends: Vec<i32>,
    validity: Validity,
}

impl ListColumn {
    /// `rules` are those of its elements.
    fn new(field: &FieldRef, rules: Rules) -> Self {
        let element = Box::new(Column::new(field.data_type(), rules));
        Self { field: field.clone(), element, ends: Vec::new(), validity: Validity::default() }
    }

    fn element_count(&self) -> usize {
        self.ends.last().map_or(0, |end| *end as usize)
    }

    fn push(&mut self, row: usize, value: Value<'_>, scratch: &mut Vec<Resolved>) -> Result<(), Reason> {
        if value.kind() != Kind::Array {
            return Err(Reason::WrongType);
        }
        let start = self.element_count();
        let mut end = start;
        for element in value.elements() {
            if !element.is_null() && self.element.push(end, element, scratch).is_err() {
                self.element.truncate(start);
                return Err(Reason::ArrayElements);
            }
            end += 1;
        }
        self.pad(row);
        self.ends.push(offset(end));
        self.validity.0.append_non_null();
        Ok(())
    }

    fn pad(&mut self, row: usize) {
        if self.validity.pad(row) > 0 {
            let last = self.ends.last().copied().unwrap_or(0);
            self.ends.resize(row, last);
        }
    }

    fn truncate(&mut self, row_count: usize) {
        if row_count < self.ends.len() {
            self.ends.truncate(row_count);
            self.validity.0.truncate(row_count);
        }
        // Elements may be there without an end: those of a push that failed.
        self.element.truncate(self.element_count());
    }

    fn finish(&mut self, row_count: usize) -> ArrayRef {
        self.pad(row_count);
        let elements = self.element.finish(self.element_count());
        let ends = std::mem::take(&mut self.ends);
        let nulls = self.validity.take().build();
        Arc::new(ListArray::new(self.field.clone(), offsets(&ends), elements, nulls))
    }
}
