//! What a statement is, and which tables it names.
//!
//! Names follow SQL with one relaxation: what is quoted is taken to the letter, what is not quoted
//! finds the name that differs by case alone. So `userId`, `USERID` and `"userId"` all name the
//! column `userId`, and no field of an event needs quotes for being written in camel case.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow_schema::{DataType, Fields, Schema};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, ShowStatementOptions, Statement as Ast, TableFactor, Value, Visit,
    VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use crate::error::QueryError;
use crate::names;

/// Deepest nesting of a statement.
const DEPTH_MAX: usize = 50;

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
        let _ = ast.visit(&mut common);
        let mut named = NamedTables { tables, common: &common.names, found: BTreeSet::new() };
        if let ControlFlow::Break(error) = VisitMut::visit(&mut ast, &mut named) {
            return Err(error);
        }
        Ok(Self { tables: named.found, ast: Box::new(ast) })
    }

    /// Positions in the list of tables of those it reads.
    pub(crate) fn tables(&self) -> &BTreeSet<usize> {
        &self.tables
    }

    /// Gives unquoted names the case they have in `schemas`, and hands the statement over.
    pub(crate) fn into_ast(mut self, tables: &[String], schemas: &[&Schema]) -> Box<Ast> {
        let mut known = KnownNames::default();
        known.names.extend(self.tables.iter().map(|index| tables[*index].clone()));
        schemas.iter().for_each(|schema| known.add_fields(schema.fields()));
        let _ = Visit::visit(&*self.ast, &mut known);
        let _ = VisitMut::visit(&mut *self.ast, &mut Recase { names: &known.names });
        self.ast
    }
}

fn parse_one(sql: &str, tables: &[String]) -> Result<Ast, QueryError> {
    let dialect = GenericDialect {};
    let mut tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|error| QueryError::from_parser(&error.into()))?;
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

/// The one of `names` that `ident` means, by the rule at the head of this file.
fn resolve_ident<'a>(ident: &Ident, mut names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    if ident.quote_style.is_some() {
        return names.find(|name| *name == ident.value);
    }
    names::resolve(&ident.value, names)
}

/// Names that `WITH` gives to queries.
#[derive(Default)]
struct CommonTables {
    names: BTreeSet<String>,
}

impl Visitor for CommonTables {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.names.extend(tables.map(|table| table.alias.name.value.clone()));
        ControlFlow::Continue(())
    }
}

/// Finds the tables a query reads, and writes their names as they are.
struct NamedTables<'a> {
    tables: &'a [String],
    common: &'a BTreeSet<String>,
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
            && let Some(common) = resolve_ident(ident, self.common.iter().map(String::as_str))
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

/// Every name that an identifier of the query can mean: columns, their fields, tables, aliases.
#[derive(Default)]
struct KnownNames {
    names: BTreeSet<String>,
}

impl KnownNames {
    fn add_fields(&mut self, fields: &Fields) {
        for field in fields {
            self.names.insert(field.name().clone());
            self.add_nested(field.data_type());
        }
    }

    fn add_nested(&mut self, data_type: &DataType) {
        match data_type {
            DataType::Struct(fields) => self.add_fields(fields),
            DataType::List(item) | DataType::LargeList(item) => self.add_nested(item.data_type()),
            _ => {}
        }
    }
}

impl Visitor for KnownNames {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.names.insert(table.alias.name.value.clone());
            self.names.extend(table.alias.columns.iter().map(|column| column.name.value.clone()));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.names.insert(alias.value.clone());
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. } = factor
        {
            self.names.insert(alias.name.value.clone());
            self.names.extend(alias.columns.iter().map(|column| column.name.value.clone()));
        }
        ControlFlow::Continue(())
    }
}

/// Gives unquoted names the case of the name they mean.
struct Recase<'a> {
    names: &'a BTreeSet<String>,
}

impl Recase<'_> {
    fn ident(&self, ident: &mut Ident) {
        if let Some(name) = resolve_ident(ident, self.names.iter().map(String::as_str)) {
            *ident = Ident { value: name.to_owned(), quote_style: Some('"'), span: ident.span };
        }
    }

    /// Turns the field in `items[1].id` into the text that DataFusion wants there.
    fn field(&self, access: &mut AccessExpr) {
        if let AccessExpr::Dot(Expr::Identifier(ident)) = access {
            self.ident(ident);
            let name = Value::SingleQuotedString(std::mem::take(&mut ident.value));
            *access = AccessExpr::Dot(Expr::value(name));
        }
    }
}

impl VisitorMut for Recase<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.ident(ident),
            Expr::CompoundIdentifier(idents) => idents.iter_mut().for_each(|ident| self.ident(ident)),
            Expr::CompoundFieldAccess { access_chain, .. } => {
                access_chain.iter_mut().for_each(|access| self.field(access))
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
            {
                for part in &mut name.0 {
                    if let ObjectNamePart::Identifier(ident) = part {
                        self.ident(ident);
                    }
                }
            }
        }
        ControlFlow::Continue(())
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
    fn a_thousand_parentheses_are_an_error_and_no_crash() {
        let sql = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert_eq!(refused(&sql), "the statement is nested too deeply");
    }
}
