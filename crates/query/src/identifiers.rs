//! What the identifiers of a query mean, and what its columns are called.
//!
//! Names follow SQL with one relaxation: what is quoted is taken to the letter, what is not quoted
//! finds the name that differs by case alone. So `userId`, `USERID` and `"userId"` all name the
//! column `userId`, and no field of an event needs quotes for being written in camel case.
//!
//! A column without a name is called what was written: `avg(ms)`, and `device.os` is `os`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow_schema::{DataType, Fields, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Ident, ObjectNamePart, OrderBy, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Statement, TableAlias, TableFactor, Value, Visit, VisitMut,
    Visitor, VisitorMut,
};

use crate::names;

/// Gives unquoted names the case they have in `schemas` and `relations`, and columns without a name
/// the text they were written as.
pub(crate) fn settle(
    statement: &mut Statement,
    relations: impl Iterator<Item = String>,
    schemas: &[SchemaRef],
) {
    let mut known = KnownNames::default();
    relations.for_each(|relation| known.add_relation(relation));
    for schema in schemas {
        known.columns.extend(schema.fields().iter().map(|field| field.name().clone()));
        known.add_fields(schema.fields());
    }
    let _ = Visit::visit(statement, &mut known);
    let _ = VisitMut::visit(statement, &mut Settle { known: &known });
}

/// The one of `names` that `ident` means, by the rule at the head of this file.
pub(crate) fn resolve_ident<'a>(
    ident: &Ident,
    mut names: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    if ident.quote_style.is_some() {
        return names.find(|name| *name == ident.value);
    }
    names::resolve(&ident.value, names)
}

/// Every name that an identifier of the query can mean.
#[derive(Default)]
struct KnownNames {
    /// All of them: columns, their fields, tables, aliases.
    names: BTreeSet<String>,
    /// Tables, and what they are called in the query.
    relations: BTreeSet<String>,
    /// Columns of tables.
    columns: BTreeSet<String>,
}

impl KnownNames {
    fn add_relation(&mut self, name: String) {
        self.names.insert(name.clone());
        self.relations.insert(name);
    }

    fn add_alias(&mut self, alias: &TableAlias) {
        self.add_relation(alias.name.value.clone());
        self.names.extend(alias.columns.iter().map(|column| column.name.value.clone()));
    }

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
        query.with.iter().flat_map(|with| &with.cte_tables).for_each(|table| self.add_alias(&table.alias));
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
            self.add_alias(alias);
        }
        ControlFlow::Continue(())
    }
}

/// Settles identifiers in place.
struct Settle<'a> {
    known: &'a KnownNames,
}

impl Settle<'_> {
    fn ident(&self, ident: &mut Ident) {
        if let Some(name) = resolve_ident(ident, self.known.names.iter().map(String::as_str)) {
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

    /// Names the columns of `items` that have no name, unless that would take another's.
    fn name_columns(&self, items: &mut [SelectItem]) {
        let mut taken: BTreeSet<String> = items.iter().filter_map(|item| self.given_name(item)).collect();
        for item in items {
            if let SelectItem::UnnamedExpr(expr) = item
                && let Some(name) = self.name_of(expr)
                && !self.known.columns.contains(&name)
                && taken.insert(name.clone())
            {
                let alias = Ident::with_quote('"', name);
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
    }

    /// What an expression is called; `None` where DataFusion names it as well, or must.
    fn name_of(&self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::Identifier(_) => None,
            Expr::CompoundIdentifier(idents) => {
                (!self.is_column(idents)).then(|| idents.last().map(|last| last.value.clone()))?
            }
            Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("unnest") => None,
            other => Some(other.to_string()),
        }
    }

    /// The name an item of `SELECT` has already.
    fn given_name(&self, item: &SelectItem) -> Option<String> {
        match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(ident.value.clone()),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(idents)) if self.is_column(idents) => {
                idents.last().map(|ident| ident.value.clone())
            }
            _ => None,
        }
    }

    /// Whether a name of several parts is a column of a table; else it is a field in a column.
    fn is_column(&self, idents: &[Ident]) -> bool {
        let [relation, _] = idents else { return false };
        self.known.relations.iter().any(|name| name.eq_ignore_ascii_case(&relation.value))
    }
}

impl VisitorMut for Settle<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.ident(ident),
            Expr::CompoundIdentifier(idents) => idents.iter_mut().for_each(|ident| self.ident(ident)),
            Expr::CompoundFieldAccess { access_chain, .. } => {
                access_chain.iter_mut().for_each(|access| self.field(access));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// What is ordered by and selected as well is ordered by its name: DataFusion does not see that a
    /// field and the column made of it are the same.
    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let SetExpr::Select(select) = query.body.as_ref() else { return ControlFlow::Continue(()) };
        let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = &mut query.order_by else {
            return ControlFlow::Continue(());
        };
        for by in order.iter_mut().filter(|by| matches!(by.expr, Expr::CompoundIdentifier(_))) {
            let named = select.projection.iter().find_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } if *expr == by.expr => Some(alias.clone()),
                _ => None,
            });
            if let Some(alias) = named {
                by.expr = Expr::Identifier(alias);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.name_columns(&mut select.projection);
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
