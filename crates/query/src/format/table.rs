//! For people in front of a terminal: aligned columns, numbers to the right, nulls empty.
//!
//! Events come from outside, so that control characters in them are shown, not sent to the
//! terminal.

use std::fmt::Write as _;

use arrow::error::ArrowError;
use arrow::json::writer::EncoderOptions;
use arrow::util::display::FormatOptions;
use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Writer;
use super::cell::Cells;

/// Rows that are shown; beyond, the table says that there are more.
const ROWS_SHOWN_MAX: usize = 1_000;
/// Columns on the screen that one cell may take; a longer one ends in `…`.
const CELL_WIDTH_MAX: usize = 80;

/// Gathers rows and writes them at the end, when all widths are known.
pub(super) struct TableWriter {
    schema: SchemaRef,
    is_plan: bool,
    rows: Vec<Vec<String>>,
    has_more: bool,
}

impl TableWriter {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let is_plan = names.eq(["plan_type", "plan"]);
        Self { schema: schema.clone(), is_plan, rows: Vec::new(), has_more: false }
    }

    /// A value as a terminal may have it. The lines of an `EXPLAIN` stay lines, and whole.
    fn shown(&self, value: &str) -> String {
        if self.is_plan {
            let lines = value.trim_end().split('\n').map(printable);
            return lines.collect::<Vec<_>>().join("\n");
        }
        cut(&printable(value))
    }

    fn is_number(&self, column: usize) -> bool {
        self.schema.field(column).data_type().is_numeric()
    }

    fn summary(&self) -> String {
        match (self.rows.len(), self.has_more) {
            (shown, true) => {
                format!("(the first {shown} rows; there are more: add a LIMIT, or use --format csv)")
            }
            (1, false) => "(1 row)".to_owned(),
            (count, false) => format!("({count} rows)"),
        }
    }

    /// A row of cells, each of which may have lines.
    fn push_row(&self, cells: &[String], widths: &[usize], text: &mut String) {
        let lines: Vec<Vec<&str>> = cells.iter().map(|cell| cell.split('\n').collect()).collect();
        let height = lines.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..height {
            let parts = lines.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
                pad(cell.get(line).copied().unwrap_or_default(), *width, self.is_number(column))
            });
            let row = parts.collect::<Vec<_>>().join("  ");
            text.push_str(row.trim_end());
            text.push('\n');
        }
    }
}

impl Writer for TableWriter {
    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let (display, json) = (FormatOptions::default(), EncoderOptions::default());
        let columns = self.schema.fields().iter().zip(batch.columns());
        let mut columns: Vec<Cells<'_>> = columns
            .map(|(field, column)| Cells::new(field, column.as_ref() as &dyn Array, &display, &json))
            .collect::<Result<_, _>>()?;
        let free = ROWS_SHOWN_MAX - self.rows.len();
        for row in 0..batch.num_rows().min(free) {
            let cells = columns.iter_mut().map(|column| cell(column, row).map(|text| self.shown(&text)));
            let cells = cells.collect::<Result<_, _>>()?;
            self.rows.push(cells);
        }
        self.has_more = batch.num_rows() > free;
        Ok(Vec::new())
    }

    fn end(&mut self) -> Result<Vec<u8>, ArrowError> {
        let names: Vec<String> = self.schema.fields().iter().map(|field| self.shown(field.name())).collect();
        let rows = || std::iter::once(&names).chain(&self.rows);
        let width = |column: usize| rows().map(|row| width_of(&row[column])).max().unwrap_or(0);
        let widths: Vec<usize> = (0..names.len()).map(width).collect();
        let mut text = String::new();
        self.push_row(&names, &widths, &mut text);
        let rules: Vec<String> =
            widths.iter().map(|width| "-".repeat((*width).min(CELL_WIDTH_MAX))).collect();
        let _ = writeln!(text, "{}", rules.join("  "));
        for row in &self.rows {
            self.push_row(row, &widths, &mut text);
        }
        let _ = writeln!(text, "{}", self.summary());
        Ok(text.into_bytes())
    }

    fn is_full(&self) -> bool {
        self.has_more
    }
}

fn cell(column: &mut Cells<'_>, row: usize) -> Result<String, ArrowError> {
    let mut text = String::new();
    column.write(row, &mut text)?;
    Ok(text)
}

fn printable(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for character in line.chars() {
        if is_harmless(character) {
            out.push(character);
        } else {
            out.extend(character.escape_default());
        }
    }
    out
}

/// Whether a terminal shows it in its place: no control, and nothing that turns the writing's
/// direction (U+202A…, U+2066…).
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn cut(line: &str) -> String {
    if line.width() <= CELL_WIDTH_MAX {
        return line.to_owned();
    }
    let mut width = 0;
    let fitting = line.chars().take_while(|character| {
        width += character.width().unwrap_or(0);
        width < CELL_WIDTH_MAX
    });
    fitting.chain(std::iter::once('…')).collect()
}

fn width_of(cell: &str) -> usize {
    cell.split('\n').map(UnicodeWidthStr::width).max().unwrap_or(0)
}

fn pad(text: &str, width: usize, to_the_right: bool) -> String {
    let blank = " ".repeat(width.saturating_sub(text.width()));
    if to_the_right { format!("{blank}{text}") } else { format!("{text}{blank}") }
}
