//! One event into its columns, and what does not fit into the residual.

use arrow_array::ArrayRef;
use arrow_schema::Fields;

use crate::column::{Column, StructColumn, TextColumn};
use crate::conflicts::{Conflicts, Reason};
use crate::evidence::{Discovery, Evidence};
use crate::json::Kind;
use crate::names::{Names, Resolved, Rules, Target};
use crate::residual::Residual;
use crate::study::Study;
use crate::tape::Value;

/// What rows leave behind beside their columns.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    pub(crate) residual: Residual,
    pub(crate) ids: TextColumn,
    pub(crate) discovery: Discovery,
    pub(crate) conflicts: Conflicts,
    /// Keys of the objects being read, each level after the one around it.
    pub(crate) resolved: Vec<Resolved>,
}

impl Leftovers {
    /// Counts a conflict of the field `key`.
    pub(crate) fn count(&mut self, key: Value<'_>, reason: Reason) {
        let keys = self.residual.around(key).chain([key]).map(Value::between_quotes);
        self.conflicts.add(keys.collect::<Vec<_>>().join("."), reason, 1);
    }

    /// Keeps a value that fits no column.
    fn refuse(&mut self, key: Value<'_>, value: Value<'_>, reason: Reason) {
        self.residual.put(key, value);
        self.count(key, reason);
    }

    /// Keeps a value that a column might be made for.
    fn keep(&mut self, key: Value<'_>, value: Value<'_>, studied: Result<Evidence, Reason>) {
        self.residual.put(key, value);
        match studied {
            Ok(evidence) => {
                let name = key.string().expect("a key that is no text is refused, not studied");
                self.discovery.learn(self.residual.around(key), &name, evidence);
            }
            Err(reason) => self.count(key, reason),
        }
    }

    /// Puts the event's own `_id` into its column. Only a string is one.
    fn push_id(&mut self, row: usize, key: Value<'_>, value: Value<'_>) {
        match value.string() {
            Some(id) => self.ids.push(row, &id),
            None if matches!(value.kind(), Kind::Escaped) => self.refuse(key, value, Reason::LoneSurrogate),
            None => self.refuse(key, value, Reason::IdNotAString),
        }
    }
}

/// The columns of the event itself.
#[derive(Debug)]
pub(crate) struct Level {
    pub(crate) names: Names,
    columns: Vec<Column>,
}

impl Level {
    /// `fields` are the columns that are no system columns.
    pub(crate) fn new(fields: &Fields, rules: Rules) -> Self {
        Self {
            names: Names::new(fields, rules),
            columns: fields.iter().map(|field| Column::new(field.data_type(), rules)).collect(),
        }
    }

    /// Finds where the event's values go; `left.resolved` has it then.
    pub(crate) fn resolve(&mut self, event: Value<'_>, left: &mut Leftovers) {
        left.resolved.clear();
        self.names.resolve(event, &mut left.resolved);
    }

    /// Puts the values of the event resolved last into `row`.
    pub(crate) fn push(&mut self, row: usize, event: Value<'_>, left: &mut Leftovers, study: Study) {
        push_all(&mut self.columns, row, (event, 0, 1), left, study);
    }

    pub(crate) fn finish(&mut self, row_count: usize) -> Vec<ArrayRef> {
        self.columns.iter_mut().map(|column| column.finish(row_count)).collect()
    }
}

/// Puts the values of an object into `row`. Its resolved keys begin at `base`; its fields have `depth`.
fn push_all(
    columns: &mut [Column],
    row: usize,
    (object, base, depth): (Value<'_>, usize, usize),
    left: &mut Leftovers,
    study: Study,
) {
    for at in base..left.resolved.len() {
        let Resolved { key, target } = left.resolved[at];
        let (key, value) = (object.at(key), object.at(key + 1));
        match target {
            Target::Shadowed => left.count(key, Reason::DuplicateKey),
            _ if value.is_null() => {}
            Target::Column(index) => {
                push_one(&mut columns[index as usize], row, (key, value, depth), left, study)
            }
            Target::Id => left.push_id(row, key, value),
            Target::Unknown => left.keep(key, value, study.field(value, depth)),
            Target::Refused(reason) => left.refuse(key, value, reason),
        }
    }
    left.resolved.truncate(base);
}

/// Puts a value into its column, or what of it does not fit into the residual.
fn push_one(
    column: &mut Column,
    row: usize,
    (key, value, depth): (Value<'_>, Value<'_>, usize),
    left: &mut Leftovers,
    study: Study,
) {
    if let (Column::Struct(of), Kind::Object) = (&mut *column, value.kind()) {
        return push_object(of, row, (key, value, depth), left, study);
    }
    match column.push(row, value, &mut left.resolved) {
        Ok(()) => {}
        Err(Reason::ArrayElements) => left.keep(key, value, study.misfit(column, value, depth)),
        Err(reason) => left.refuse(key, value, reason),
    }
}

fn push_object(
    of: &mut StructColumn,
    row: usize,
    (key, value, depth): (Value<'_>, Value<'_>, usize),
    left: &mut Leftovers,
    study: Study,
) {
    if value.is_empty() {
        return left.refuse(key, value, Reason::EmptyObject);
    }
    of.begin(row);
    left.residual.enter(key);
    let base = left.resolved.len();
    of.names.resolve(value, &mut left.resolved);
    push_all(&mut of.columns, row, (value, base, depth + 1), left, study);
    left.residual.leave();
}
