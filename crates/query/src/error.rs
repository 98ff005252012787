//! What can go wrong, and whose turn it is then.

use std::time::Duration;

use arrow_schema::SchemaRef;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use event::ErrorKind;
use table::TableError;

use crate::names;

/// A statement that brought no answer, or only part of one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    kind: QueryErrorKind,
    message: String,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryErrorKind {
    /// The statement is wrong, or something this engine does not do: change it. HTTP 400.
    BadSql,
    /// The statement needs more memory, rows or bytes than it may have: narrow it. HTTP 413.
    TooLarge,
    /// It took longer than it may: narrow it. HTTP 504.
    Timeout,
    /// The table cannot be read now, or too many statements run: try again. HTTP 503.
    Unavailable,
    /// The settings, rights or data are wrong: a person must look. HTTP 500.
    Internal,
}

impl QueryErrorKind {
    /// The `code` of an HTTP error body.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::BadSql => "bad_sql",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status that says the same.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::BadSql => 400,
            Self::TooLarge => 413,
            Self::Timeout => 504,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }
}

impl QueryError {
    /// Whose turn it is.
    #[must_use]
    pub fn kind(&self) -> QueryErrorKind {
        self.kind
    }

    /// The `code` of an HTTP error body.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }

    pub(crate) fn new(kind: QueryErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn bad_sql(message: impl Into<String>) -> Self {
        Self::new(QueryErrorKind::BadSql, message)
    }

    pub(crate) fn timeout(limit: Duration) -> Self {
        let seconds = limit.as_secs_f64();
        let message = format!(
            "the statement took longer than {seconds} s; narrow it, for instance by event_date, or add a LIMIT"
        );
        Self::new(QueryErrorKind::Timeout, message)
    }

    pub(crate) fn from_table(error: &TableError) -> Self {
        let kind = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Fenced => QueryErrorKind::Unavailable,
            ErrorKind::Settings | ErrorKind::Data => QueryErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }

    /// An error of the planner, which does not know what fields a struct column has.
    pub(crate) fn from_planner(error: DataFusionError, schemas: &[SchemaRef]) -> Self {
        let refused = Self::from(error);
        let field =
            refused.message.strip_prefix("Field ").and_then(|rest| rest.strip_suffix(" not found in struct"));
        let Some(field) = field else { return refused };
        let fields: Vec<&str> = schemas
            .iter()
            .flat_map(|schema| schema.flattened_fields())
            .map(|field| field.name().as_str())
            .collect();
        Self::bad_sql(match names::nearest(field, fields.into_iter()) {
            Some(name) => format!("no field {field:?} in this struct; did you mean {name:?}?"),
            None => format!("no field {field:?} in this struct; DESCRIBE lists the fields"),
        })
    }

    pub(crate) fn from_parser(error: &ParserError) -> Self {
        match error {
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => {
                Self::bad_sql(format!("syntax error: {text}"))
            }
            ParserError::RecursionLimitExceeded => Self::bad_sql("the statement is nested too deeply"),
        }
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        classify(&error)
    }
}

/// Finds the error that matters in DataFusion's wrappings and says it in our words.
fn classify(error: &DataFusionError) -> QueryError {
    use QueryErrorKind::{Internal, TooLarge, Unavailable};
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => classify(inner),
        DataFusionError::Shared(inner) => classify(inner),
        DataFusionError::Collection(all) if !all.is_empty() => classify(&all[0]),
        DataFusionError::SQL(parser, _) => QueryError::from_parser(parser),
        DataFusionError::SchemaError(schema, _) => QueryError::bad_sql(schema_message(schema)),
        DataFusionError::Plan(text)
        | DataFusionError::Execution(text)
        | DataFusionError::Configuration(text) => QueryError::bad_sql(plain(text)),
        DataFusionError::NotImplemented(text) => QueryError::bad_sql(format!("not supported: {text}")),
        DataFusionError::ArrowError(arrow, _) => QueryError::bad_sql(arrow.to_string()),
        DataFusionError::ResourcesExhausted(text) => {
            let advice = "narrow it, for instance by event_date, or group by fewer values";
            QueryError::new(
                TooLarge,
                format!("the statement needs more memory than it may have; {advice} ({text})"),
            )
        }
        DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
            let advice = "the table may have moved on meanwhile: run the statement again";
            QueryError::new(Unavailable, format!("a file of the table could not be read; {advice} ({error})"))
        }
        DataFusionError::External(inner) => match inner.downcast_ref::<QueryError>() {
            Some(ours) => ours.clone(),
            None => QueryError::new(Unavailable, inner.to_string()),
        },
        _ => QueryError::new(Internal, error.strip_backtrace()),
    }
}

/// DataFusion's text without its own trail, on one line.
fn plain(text: &str) -> String {
    let from = text.find("No function matches").unwrap_or(0);
    let text = text[from..].trim_start_matches("Execution error: ");
    let lines = text.lines().map(str::trim).take_while(|line| *line != "Candidate functions:");
    lines.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

fn schema_message(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => no_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            format!(
                "column {:?} is in more than one of the tables; write which: table.{}",
                field.name, field.name
            )
        }
        other => other.to_string(),
    }
}

fn no_column(field: &Column, valid: &[Column]) -> String {
    let place = place_of(field, valid);
    let nearest = names::nearest(&field.name, valid.iter().map(|column| column.name.as_str()));
    match nearest {
        Some(name) => format!("no column {:?}{place}; did you mean {name:?}?", field.name),
        None => format!("no column {:?}{place}; DESCRIBE lists the columns of a table", field.name),
    }
}

/// ` in logs`, where it is known which table was meant.
fn place_of(field: &Column, valid: &[Column]) -> String {
    if let Some(relation) = &field.relation {
        return format!(" in {relation}");
    }
    let mut relations: Vec<_> = valid.iter().filter_map(|column| column.relation.as_ref()).collect();
    relations.dedup();
    match relations[..] {
        [one] => format!(" in {one}"),
        _ => String::new(),
    }
}
