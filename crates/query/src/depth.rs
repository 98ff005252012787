//! How deep a statement may be.
//!
//! The parser bounds parentheses. But `1+1+1+…` is as deep a tree, and planner and optimizer walk
//! trees by recursion: one statement must not end the process by using up a stack.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::QueryError;

/// Operators and keywords on the way from a statement to its innermost expression.
const LINKS_MAX: usize = 2_000;

/// Refuses what could be a deeper tree than [`LINKS_MAX`]. The estimate is from above: all operators
/// and keywords since the last comma, at every open parenthesis.
pub(crate) fn check(tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    let (mut open, mut links) = (Vec::new(), 0);
    let mut here = 0;
    for token in tokens {
        match &token.token {
            Token::RParen | Token::RBracket | Token::RBrace => {
                links -= here;
                here = open.pop().unwrap_or(0);
            }
            Token::Comma | Token::SemiColon => {
                links -= here;
                here = 0;
            }
            token if is_link(token) => {
                links += 1;
                here += 1;
            }
            _ => {}
        }
        if matches!(token.token, Token::LParen | Token::LBracket | Token::LBrace) {
            open.push(std::mem::take(&mut here));
        }
        if links > LINKS_MAX {
            let message = format!(
                "the statement is nested too deeply: one expression has more than {LINKS_MAX} operators; \
                 long lists go into IN (…)"
            );
            return Err(QueryError::bad_sql(message));
        }
    }
    Ok(())
}

/// Whether a token can make a tree deeper: all but names, values and white space.
fn is_link(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.keyword != Keyword::NoKeyword,
        Token::Number(_, _) | Token::SingleQuotedString(_) | Token::Whitespace(_) | Token::EOF => false,
        _ => true,
    }
}
