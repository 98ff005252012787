//! What a statement is, and which tables it names.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use arrow_schema::SchemaRef;
use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, ObjectNamePart, Query, ShowStatementOptions, Statement as Ast, TableFactor, Visit,
    VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use crate::depth;
use crate::error::QueryError;
use crate::identifiers::{self, resolve_ident};
use crate::names;

/// Deepest nesting of a statement.
const DEPTH_MAX: usize = 50;

/// Tables a statement may read, those of `WITH` counted wherever they are used.
const RELATIONS_MAX: usize = 200;

/// Catalog and schema the tables are in, for tools that write them out.
pub(crate) const PLACE: [&str; 2] = ["laker", "public"];

const READ_ONLY: &str = "this SQL only reads: SELECT, EXPLAIN, SHOW TABLES and DESCRIBE";

/// A statement that may run.
#[derive(Debug)]
pub(crate) enum Statement {
    /// `SELECT`, or `EXPLAIN` of one.
    Query(QueryStatement),
    /// `SHOW TABLES`.
    ShowTables,
    /// `DESCRIBE table`, by its position in the list of tables.
    Describe(usize),
}

/// A `SELECT` whose tables are known and whose columns are not yet.
#[derive(Debug)]
pub(crate) struct QueryStatement {
    ast: Box<Ast>,
    tables: BTreeSet<usize>,
}

impl Statement {
    /// Reads `sql`, in which the tables of `tables` can be named.
    pub(crate) fn parse(sql: &str, tables: &[String]) -> Result<Self, QueryError> {
        let ast = parse_one(sql, tables)?;
        match ast {
            Ast::Query(_) => QueryStatement::new(ast, tables).map(Self::Query),
            Ast::Explain { ref statement, .. } if matches!(**statement, Ast::Query(_)) => {
                QueryStatement::new(ast, tables).map(Self::Query)
            }
            Ast::ExplainTable { table_name, .. } => find_table(&table_name, tables).map(Self::Describe),
            Ast::ShowTables { show_options, .. } if is_plain(&show_options) => Ok(Self::ShowTables),
            Ast::ShowTables { .. } => Err(QueryError::bad_sql("SHOW TABLES takes nothing more here")),
            Ast::ShowColumns { show_options, .. } => described(&show_options, tables).map(Self::Describe),
            other => {
                Err(QueryError::bad_sql(format!("{} is not possible: {READ_ONLY}", first_words(&other))))
            }
        }
    }
}

impl QueryStatement {
    fn new(mut ast: Ast, tables: &[String]) -> Result<Self, QueryError> {
        let mut common = CommonTables::default();
        if Visit::visit(&ast, &mut common).is_break() {
            return Err(QueryError::bad_sql(format!("the statement reads more than {RELATIONS_MAX} tables")));
        }
        let mut named = NamedTables { tables, common: &common.sizes, found: BTreeSet::new() };
        if let ControlFlow::Break(error) = VisitMut::visit(&mut ast, &mut named) {
            return Err(error);
        }
        Ok(Self { tables: named.found, ast: Box::new(ast) })
    }

    /// Positions in the list of tables of those it reads.
    pub(crate) fn tables(&self) -> &BTreeSet<usize> {
        &self.tables
    }

    /// Settles what its identifiers mean, given the columns of its tables, and hands it over.
    pub(crate) fn into_ast(mut self, tables: &[String], schemas: &[SchemaRef]) -> Box<Ast> {
        let relations = self.tables.iter().map(|index| tables[*index].clone());
        identifiers::settle(&mut self.ast, relations, schemas);
        self.ast
    }
}

fn parse_one(sql: &str, tables: &[String]) -> Result<Ast, QueryError> {
    let dialect = GenericDialect {};
    let mut tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|error| QueryError::from_parser(&error.into()))?;
    depth::check(&tokens)?;
    free_names(&mut tokens);
    quote_hyphened(&mut tokens, tables);
    let mut statements = Parser::new(&dialect)
        .with_recursion_limit(DEPTH_MAX)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|error| QueryError::from_parser(&error))?;
    match statements.len() {
        1 => Ok(statements.remove(0)),
        0 => Err(QueryError::bad_sql("there is no statement; try SHOW TABLES")),
        count => Err(QueryError::bad_sql(format!("one statement at a time, please: here are {count}"))),
    }
}

/// Makes `user` a name like any other: the parser takes it for a function, which there is not, and
/// hardly a log of user events is without such a field.
fn free_names(tokens: &mut [TokenWithSpan]) {
    for token in tokens {
        if let Token::Word(word) = &mut token.token
            && matches!(word.keyword, Keyword::USER | Keyword::CURRENT_USER | Keyword::SESSION_USER)
        {
            word.keyword = Keyword::NoKeyword;
        }
    }
}

/// Makes `FROM search-events` mean the table of that name: a stream's name may have hyphens, and
/// nobody expects to have to quote it.
fn quote_hyphened(tokens: &mut Vec<TokenWithSpan>, tables: &[String]) {
    let mut index = 0;
    while index < tokens.len() {
        if names_a_table_next(&tokens[index].token) {
            index = skip_whitespace(tokens, index + 1);
            if let Some((end, name)) = hyphened(&tokens[index..], tables) {
                let word = Word { value: name, quote_style: Some('"'), keyword: Keyword::NoKeyword };
                tokens[index].token = Token::Word(word);
                tokens.drain(index + 1..index + end);
            }
        } else {
            index += 1;
        }
    }
}

fn names_a_table_next(token: &Token) -> bool {
    let Token::Word(word) = token else { return false };
    matches!(word.keyword, Keyword::FROM | Keyword::JOIN | Keyword::DESCRIBE | Keyword::DESC)
}

fn skip_whitespace(tokens: &[TokenWithSpan], from: usize) -> usize {
    let blank = tokens[from..].iter().take_while(|token| matches!(token.token, Token::Whitespace(_)));
    from + blank.count()
}

/// The longest run of tokens at the start that spells a table's name with a hyphen in it.
fn hyphened(tokens: &[TokenWithSpan], tables: &[String]) -> Option<(usize, String)> {
    let (mut text, mut found) = (String::new(), None);
    for (index, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::Word(word) if word.quote_style.is_none() => text.push_str(&word.value),
            Token::Number(digits, _) => text.push_str(digits),
            Token::Minus => text.push('-'),
            _ => break,
        }
        let name = names::resolve(&text, tables.iter().map(String::as_str));
        found = name.filter(|name| name.contains('-')).map(|name| (index + 1, name.to_owned())).or(found);
    }
    found
}

fn is_plain(options: &ShowStatementOptions) -> bool {
    let ShowStatementOptions { show_in, starts_with, limit, limit_from, filter_position } = options;
    show_in.is_none()
        && starts_with.is_none()
        && limit.is_none()
        && limit_from.is_none()
        && filter_position.is_none()
}

fn described(options: &ShowStatementOptions, tables: &[String]) -> Result<usize, QueryError> {
    let named = options.show_in.as_ref().and_then(|place| place.parent_name.as_ref());
    let name = named.ok_or_else(|| QueryError::bad_sql("SHOW COLUMNS needs FROM and a table"))?;
    find_table(name, tables)
}

fn first_words(statement: &Ast) -> String {
    statement.to_string().split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

fn find_table(name: &ObjectName, tables: &[String]) -> Result<usize, QueryError> {
    let Some((ObjectNamePart::Identifier(ident), place)) = name.0.split_last() else {
        return Err(no_table(&name.to_string(), tables));
    };
    let ours = place.iter().zip(PLACE[PLACE.len() - place.len().min(PLACE.len())..].iter());
    if place.len() > PLACE.len()
        || !ours.clone().all(|(part, name)| part.to_string().eq_ignore_ascii_case(name))
    {
        return Err(no_table(&name.to_string(), tables));
    }
    let found = resolve_ident(ident, tables.iter().map(String::as_str));
    let position = found.and_then(|found| tables.iter().position(|table| table == found));
    position.ok_or_else(|| no_table(&ident.value, tables))
}

fn no_table(name: &str, tables: &[String]) -> QueryError {
    match names::nearest(name, tables.iter().map(String::as_str)) {
        Some(near) => QueryError::bad_sql(format!("no table {name:?}; did you mean {near:?}?")),
        None => QueryError::bad_sql(format!("no table {name:?}; SHOW TABLES lists the tables there are")),
    }
}

/// The queries that have names by `WITH`, and how many tables each reads when it is written out, as
/// the planner does: each can read the one before it twice.
#[derive(Default)]
struct CommonTables {
    sizes: BTreeMap<String, usize>,
}

impl Visitor for CommonTables {
    type Break = ();

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            let size = self.size(&table.query);
            self.sizes.insert(table.alias.name.value.clone(), size);
        }
        if self.size(query) > RELATIONS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl CommonTables {
    fn size(&self, query: &Query) -> usize {
        let mut relations = Relations { sizes: &self.sizes, count: 0 };
        let _ = Visit::visit(query, &mut relations);
        relations.count
    }
}

/// Counts the tables of a query, those of `WITH` by their size.
struct Relations<'a> {
    sizes: &'a BTreeMap<String, usize>,
    count: usize,
}

impl Visitor for Relations<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let size = match factor {
            TableFactor::Table { name, .. } => self.size_of(name),
            _ => 1,
        };
        self.count = self.count.saturating_add(size);
        ControlFlow::Continue(())
    }
}

impl Relations<'_> {
    fn size_of(&self, name: &ObjectName) -> usize {
        let ident = name.0.last().and_then(|part| part.as_ident());
        let common = ident.and_then(|ident| resolve_ident(ident, self.sizes.keys().map(String::as_str)));
        common.and_then(|name| self.sizes.get(name)).copied().unwrap_or(1).max(1)
    }
}

/// Finds the tables a query reads, and writes their names as they are.
struct NamedTables<'a> {
    tables: &'a [String],
    common: &'a BTreeMap<String, usize>,
    found: BTreeSet<usize>,
}

impl VisitorMut for NamedTables<'_> {
    type Break = QueryError;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<QueryError> {
        if let TableFactor::Table { name, args: None, .. } = factor {
            return match self.name(name) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            };
        }
        ControlFlow::Continue(())
    }
}

impl NamedTables<'_> {
    fn name(&mut self, name: &mut ObjectName) -> Result<(), QueryError> {
        if let [part] = &mut name.0[..]
            && let Some(ident) = part.as_ident()
            && let Some(common) = resolve_ident(ident, self.common.keys().map(String::as_str))
        {
            *name = ObjectName::from(vec![Ident::with_quote('"', common)]);
            return Ok(());
        }
        let index = find_table(name, self.tables)?;
        self.found.insert(index);
        *name = ObjectName::from(vec![Ident::with_quote('"', &self.tables[index])]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Vec<String> {
        ["logs", "logs__dead", "search-2-events", "Clicks"].map(str::to_owned).to_vec()
    }

    fn read(sql: &str) -> Vec<String> {
        let Statement::Query(query) = Statement::parse(sql, &tables()).unwrap() else {
            panic!("no query: {sql}")
        };
        query.tables().iter().map(|index| tables()[*index].clone()).collect()
    }

    fn refused(sql: &str) -> String {
        Statement::parse(sql, &tables()).unwrap_err().to_string()
    }

    #[test]
    fn tables_are_found_quoted_or_not_and_in_any_case() {
        assert_eq!(read("SELECT * FROM logs"), ["logs"]);
        assert_eq!(read("select * from LOGS l join \"logs__dead\" using (_offset)"), ["logs", "logs__dead"]);
        assert_eq!(
            read("SELECT * FROM (SELECT 1 FROM clicks) WHERE x IN (SELECT y FROM public.logs)"),
            ["logs", "Clicks"]
        );
        assert_eq!(read("SELECT 1"), [""; 0]);
        assert_eq!(read("SELECT * FROM generate_series(1, 3)"), [""; 0]);
    }

    #[test]
    fn a_hyphen_in_a_tables_name_needs_no_quotes() {
        assert_eq!(read("SELECT * FROM search-2-events"), ["search-2-events"]);
        assert_eq!(read("SELECT a-b FROM Search-2-Events WHERE x = 1-2"), ["search-2-events"]);
        assert_eq!(
            read("SELECT * FROM \"search-2-events\" JOIN logs USING (_id)"),
            ["logs", "search-2-events"]
        );
        assert!(matches!(
            Statement::parse("DESCRIBE search-2-events", &tables()),
            Ok(Statement::Describe(2))
        ));
    }

    #[test]
    fn a_name_given_by_with_hides_no_typing_error() {
        assert_eq!(read("WITH Top AS (SELECT * FROM logs) SELECT * FROM top"), ["logs"]);
        assert_eq!(
            refused("WITH t AS (SELECT 1) SELECT * FROM logz"),
            "no table \"logz\"; did you mean \"logs\"?"
        );
    }

    #[test]
    fn what_writes_or_sets_is_refused_in_plain_words() {
        for sql in [
            "DROP TABLE logs",
            "CREATE TABLE t AS SELECT 1",
            "INSERT INTO logs VALUES (1)",
            "DELETE FROM logs",
            "UPDATE logs SET x = 1",
            "SET x = 1",
            "COPY logs TO 'x.csv'",
            "EXPLAIN DELETE FROM logs",
            "SHOW ALL",
            "TRUNCATE TABLE logs",
        ] {
            assert!(refused(sql).contains(READ_ONLY), "{sql}: {}", refused(sql));
        }
        let external = refused("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'");
        assert!(external.starts_with("syntax error") || external.contains(READ_ONLY), "{external}");
    }

    #[test]
    fn a_file_is_no_table() {
        assert_eq!(
            refused("SELECT * FROM '/etc/passwd'"),
            "no table \"/etc/passwd\"; SHOW TABLES lists the tables there are"
        );
    }

    #[test]
    fn one_statement_and_not_none() {
        assert_eq!(refused("SELECT 1; SELECT 2"), "one statement at a time, please: here are 2");
        assert_eq!(refused(" -- nothing\n;"), "there is no statement; try SHOW TABLES");
        assert_eq!(read("SELECT 1;"), [""; 0]);
    }

    #[test]
    fn a_syntax_error_says_where() {
        assert!(
            refused("SELECT * FORM logs").contains("Line: 1, Column: 10"),
            "{}",
            refused("SELECT * FORM logs")
        );
        assert!(refused("SELECT 'x").contains("Line: 1, Column: 8"), "{}", refused("SELECT 'x"));
    }

    #[test]
    fn long_chains_and_tables_of_tables_are_refused_before_they_are_planned() {
        for link in [
            "+1",
            " OR 1=1",
            " UNION SELECT 1",
            "::int",
            "[1]",
            " AND NOT 1 IS NULL",
            " JOIN logs ON true",
            ".a",
        ] {
            let sql = format!("SELECT 1{}", link.repeat(30_000));
            assert!(refused(&sql).contains("nested too deeply"), "{link}: {}", refused(&sql));
        }
        let columns = (0..5_000).map(|n| format!("a{n} + 1 AS b{n}")).collect::<Vec<_>>().join(", ");
        assert_eq!(
            read(&format!("SELECT {columns} FROM logs WHERE a IN ({})", "1, ".repeat(9_999) + "1")),
            ["logs"]
        );
        let doubled =
            (1..40).map(|n| format!(", t{n} AS (SELECT * FROM t{m} JOIN t{m} AS u ON true)", m = n - 1));
        let bomb = format!("WITH t0 AS (SELECT 1){} SELECT * FROM t39", doubled.collect::<String>());
        assert_eq!(refused(&bomb), "the statement reads more than 200 tables");
        assert_eq!(
            refused(&format!("SELECT * FROM logs{}", ", logs".repeat(500))),
            "the statement reads more than 200 tables"
        );
    }

    #[test]
    fn a_thousand_parentheses_are_an_error_and_no_crash() {
        let sql = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(refused(&sql).starts_with("the statement is nested too deeply"), "{}", refused(&sql));
    }
}
