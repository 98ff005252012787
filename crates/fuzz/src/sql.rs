//! SQL statements.

use std::sync::LazyLock;

static TABLES: LazyLock<Vec<String>> =
    LazyLock::new(|| ["logs", "logs__dead", "search-2-events", "Clicks"].map(str::to_owned).to_vec());

/// A statement that may run, or why not: never a panic, an overflow of the stack, or a long wait.
pub fn run(bytes: &[u8]) {
    let Ok(sql) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = query::fuzzing::parse(sql, &TABLES) {
        assert!(!error.to_string().is_empty());
    }
}
