//! SQL over the table and what the log holds beyond it, at one exact seam. Read only.
//!
//! A statement takes this route: [`statement`] reads it and finds the tables it names; [`seam`]
//! takes one version of each table and the log from that version's offsets on; [`scan`] shows both
//! to DataFusion as one table, less the files that [`prune`] rules out; [`answer`] streams the rows,
//! and [`format`] turns them into what was asked for.

/// Statements from text to stream.
pub mod engine;
/// What a statement is, and which tables it names.
mod statement;
/// How deep a statement may be.
mod depth;
/// What the identifiers of a query mean, and what its columns are called.
mod identifiers;
/// Names as people write them: any case, and the nearest name when there is none.
mod names;
/// One version of a table, and the log from that version's offsets on.
mod seam;
/// One piece of work for all who wait for it.
mod shared;
/// Decoded records that have not landed yet, kept from statement to statement.
mod tail;
/// Table and tail as one table for DataFusion.
mod scan;
/// Files that cannot hold a row a filter lets through.
mod prune;
/// The threads that plan statements and compute answers.
mod workers;
/// DataFusion, set up so that it can only read what it is given.
mod session;
/// What a statement brings: rows, and how fresh they are.
pub mod answer;
/// `SHOW TABLES` and `DESCRIBE`.
mod describe;
/// What can go wrong, and whose turn it is then.
pub mod error;
/// Answers as a table for the terminal, CSV, JSON, NDJSON or Arrow.
pub mod format;

pub use answer::{Answer, Freshness, LogPart, Rows};
pub use engine::{QueryEngine, QueryOptions, QuerySource};
pub use error::{QueryError, QueryErrorKind};
pub use format::Format;

/// A door for `crates/fuzz`, and nobody else.
#[doc(hidden)]
pub mod fuzzing {
    use crate::error::QueryError;
    use crate::statement::Statement;

    /// Reads one statement that can name `tables`.
    ///
    /// # Errors
    /// Why it may not run.
    pub fn parse(sql: &str, tables: &[String]) -> Result<(), QueryError> {
        Statement::parse(sql, tables).map(drop)
    }
}
