//! `_residual`: what fits no column, in the event's own shape, byte for byte.

use arrow_array::ArrayRef;

use crate::column::TextColumn;
use crate::tape::Value;

/// Writes the residual of one row after the other.
#[derive(Debug, Default)]
pub(crate) struct Residual {
    rows: TextColumn,
    /// What is left of the row at hand; empty when everything fitted.
    json: String,
    /// Objects around the value at hand, from outside: node of the key, and whether it was written.
    around: Vec<(u32, bool)>,
}

impl Residual {
    /// Goes into the object under `key`. Nothing is written before something in it does not fit.
    pub(crate) fn enter(&mut self, key: Value<'_>) {
        self.around.push((key.index(), false));
    }

    /// Leaves the object entered last.
    pub(crate) fn leave(&mut self) {
        if let Some((_, true)) = self.around.pop() {
            self.json.push('}');
        }
    }

    /// Keeps `value` under `key` at its place in the event.
    pub(crate) fn put(&mut self, key: Value<'_>, value: Value<'_>) {
        if self.json.is_empty() {
            self.json.push('{');
        }
        for level in 0..self.around.len() {
            let (node, written) = self.around[level];
            if !written {
                self.key(key.at(node));
                self.json.push('{');
                self.around[level].1 = true;
            }
        }
        self.key(key);
        self.json.push_str(value.raw());
    }

    fn key(&mut self, key: Value<'_>) {
        if !self.json.ends_with('{') {
            self.json.push(',');
        }
        self.json.push_str(key.raw());
        self.json.push(':');
    }

    /// Keys of the objects around the value at hand, from outside.
    pub(crate) fn around<'a>(&self, value: Value<'a>) -> impl Iterator<Item = Value<'a>> {
        self.around.iter().map(move |(node, _)| value.at(*node))
    }

    /// Ends the row.
    pub(crate) fn end_row(&mut self, row: usize) {
        if !self.json.is_empty() {
            self.json.push('}');
            self.rows.push(row, &self.json);
            self.json.clear();
        }
    }

    pub(crate) fn finish(&mut self, row_count: usize) -> ArrayRef {
        self.rows.finish(row_count)
    }
}
