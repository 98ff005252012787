//! One body becomes raw events, each the very bytes that were sent.
//!
//! The bytes decide the form, not the content type, because clients rarely say which form they send:
//!
//! 1. A body that begins with `[` is one array; its elements are the events.
//! 2. A body whose first line is a whole JSON value is lines, one event each; blank lines do not count.
//! 3. A body that begins with `{` is one object over several lines (or several, one after another).
//!
//! What fits none of them is broken, and the question is how far the damage reaches. A broken line
//! does not touch its neighbours. A broken document is refused whole: taking a part of what cannot be
//! read to its end would be a guess about the rest.

use std::ops::Range;

use decode::json::{self, JsonError, skip_whitespace};
use memchr::memchr_iter;

use crate::media::Lines;
use crate::refusal::Refusal;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Where each event lies in `body`, in the order sent. At least one.
pub(crate) fn split(body: &[u8], lines: Lines, events_max: usize) -> Result<Vec<Range<usize>>, Refusal> {
    let start = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let whole = trim(body, start..body.len());
    let text = &body[..whole.end];
    let first = match text.get(whole.start) {
        None => return Err(Refusal::EmptyBody),
        Some(first) => *first,
    };
    let mut events = Events { ranges: Vec::new(), max: events_max };
    let outcome = match first {
        b'[' => array(text, whole.start, &mut events),
        b'{' if !first_line_is_whole(text, whole.start) => sequence(text, whole.start, &mut events),
        _ => each_line(text, whole.start, &mut events),
    };
    match outcome {
        Ok(()) => {}
        Err(End::TooMany) => return Err(Refusal::TooManyEvents { events_max }),
        Err(End::Broken(broken)) => {
            if !damage_stays_in_its_line(text, whole.start, lines) {
                return Err(Refusal::InvalidJson { at: broken.at, expected: broken.expected });
            }
            events.ranges.clear();
            each_line(text, whole.start, &mut events).map_err(|_| Refusal::TooManyEvents { events_max })?;
        }
    }
    if events.ranges.is_empty() { Err(Refusal::EmptyBody) } else { Ok(events.ranges) }
}

/// Events found so far, at most `max`.
struct Events {
    ranges: Vec<Range<usize>>,
    max: usize,
}

impl Events {
    fn push(&mut self, range: Range<usize>) -> Result<(), End> {
        if self.ranges.len() == self.max {
            return Err(End::TooMany);
        }
        self.ranges.push(range);
        Ok(())
    }
}

/// Why splitting ended early.
enum End {
    TooMany,
    Broken(Broken),
}

/// Where a body stops being JSON.
struct Broken {
    at: usize,
    expected: &'static str,
}

fn broken(at: usize, expected: &'static str) -> End {
    End::Broken(Broken { at, expected })
}

/// End of the JSON value at `at`, however deep: how deep an event may be is for its verdict.
fn skip_value(text: &[u8], at: usize) -> Result<usize, End> {
    json::skip_value(text, at, usize::MAX).map_err(|error| match error {
        JsonError::Syntax { at, expected } => broken(at, expected),
        JsonError::TooDeep { at, .. } => broken(at, "less nesting"),
    })
}

/// The elements of the array that begins at `start` and is all there is.
fn array(text: &[u8], start: usize, events: &mut Events) -> Result<(), End> {
    let mut at = skip_whitespace(text, start + 1);
    if text.get(at) == Some(&b']') {
        return end_of_text(text, at + 1);
    }
    loop {
        let end = skip_value(text, at)?;
        events.push(at..end)?;
        at = skip_whitespace(text, end);
        match text.get(at) {
            Some(b',') => at = skip_whitespace(text, at + 1),
            Some(b']') => return end_of_text(text, at + 1),
            _ => return Err(broken(at, "',' or ']'")),
        }
    }
}

fn end_of_text(text: &[u8], at: usize) -> Result<(), End> {
    let at = skip_whitespace(text, at);
    if at == text.len() {
        return Ok(());
    }
    Err(broken(at, "nothing after the array"))
}

/// Values one after another, each over as many lines as it likes.
fn sequence(text: &[u8], start: usize, events: &mut Events) -> Result<(), End> {
    let mut at = start;
    while at < text.len() {
        let end = skip_value(text, at)?;
        events.push(at..end)?;
        at = skip_whitespace(text, end);
    }
    Ok(())
}

/// What each line has, but for blank ones.
fn each_line(text: &[u8], start: usize, events: &mut Events) -> Result<(), End> {
    for line in lines_of(text, start) {
        let line = trim(text, line);
        if !line.is_empty() {
            events.push(line)?;
        }
    }
    Ok(())
}

fn lines_of(text: &[u8], start: usize) -> impl Iterator<Item = Range<usize>> {
    let ends = memchr_iter(b'\n', &text[start..]).map(move |at| start + at).chain([text.len()]);
    ends.scan(start, |line_start, end| {
        let line = *line_start..end;
        *line_start = end + 1;
        Some(line)
    })
}

/// Whether a body that is no whole document is lines of which some are broken.
///
/// For an array it is not, unless the client says so or the array ends in its line: its elements may
/// well stand on lines of their own. For an object it is, when some later line is an object that
/// begins at the line's very start; within an object written over several lines it would be indented.
fn damage_stays_in_its_line(text: &[u8], start: usize, lines: Lines) -> bool {
    if lines == Lines::Declared || first_line_is_whole(text, start) {
        return true;
    }
    text[start] == b'{'
        && lines_of(text, start)
            .skip(1)
            .any(|line| text[line.start..].starts_with(b"{") && is_value(text, line))
}

fn first_line_is_whole(text: &[u8], start: usize) -> bool {
    lines_of(text, start).next().is_some_and(|line| is_value(text, line))
}

fn is_value(text: &[u8], line: Range<usize>) -> bool {
    let line = &text[trim(text, line)];
    skip_value(line, 0).is_ok_and(|end| end == line.len())
}

/// `range` without the white space of JSON at its ends. No other: a form feed is blank to Rust's own
/// trim, and a record that ends in one is no JSON to the loader.
fn trim(text: &[u8], range: Range<usize>) -> Range<usize> {
    let start = skip_whitespace(&text[..range.end], range.start);
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    let blank = text[start..range.end].iter().rev().take_while(is_blank).count();
    start..range.end - blank
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &str, lines: Lines) -> Result<Vec<&str>, Refusal> {
        let ranges = split(text.as_bytes(), lines, 100)?;
        Ok(ranges.into_iter().map(|range| &text[range]).collect())
    }

    #[test]
    fn damage_in_an_array_reaches_all_of_it_unless_the_client_says_lines() {
        let text = "[{\"a\":1},\n{\"a\":2}\n";
        assert!(matches!(pieces(text, Lines::Undeclared), Err(Refusal::InvalidJson { at: 17, .. })));
        assert_eq!(pieces(text, Lines::Declared), Ok(vec!["[{\"a\":1},", "{\"a\":2}"]));
    }

    #[test]
    fn an_object_of_an_object_that_breaks_off_is_not_taken_for_a_line() {
        let text = "{\n  \"list\": [\n    {\"a\":1}\n";
        assert!(matches!(pieces(text, Lines::Undeclared), Err(Refusal::InvalidJson { .. })));
    }

    #[test]
    fn what_is_inside_an_element_does_not_split_it() {
        let text = r#"[{"a":"],[{\"\\"},{"b":[[{}],{"c":","}]}]"#;
        assert_eq!(
            pieces(text, Lines::Undeclared),
            Ok(vec![r#"{"a":"],[{\"\\"}"#, r#"{"b":[[{}],{"c":","}]}"#])
        );
    }

    /// Text out of which JSON is made, and out of which it is broken.
    fn scraps() -> impl Strategy<Value = Vec<u8>> {
        let scrap = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\n",
            "\r\n",
            " ",
            "1",
            "null",
            "\"a\":1",
            "{\"a\":1}",
            "\u{feff}",
            "\u{e9}",
        ]);
        let text = prop::collection::vec(scrap, 0..40).prop_map(|scraps| scraps.concat().into_bytes());
        prop_oneof![3 => text, 1 => prop::collection::vec(any::<u8>(), 0..100)]
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_split_into_pieces_in_order(body in scraps(), declared: bool) {
            let lines = if declared { Lines::Declared } else { Lines::Undeclared };
            match split(&body, lines, 10) {
                Err(refusal) => prop_assert!(refusal.status().is_client_error()),
                Ok(ranges) => {
                    prop_assert!((1..=10).contains(&ranges.len()));
                    prop_assert!(ranges.iter().all(|range| range.start < range.end && range.end <= body.len()));
                    prop_assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
                }
            }
        }

        #[test]
        fn lines_that_are_declared_are_never_refused_for_what_they_hold(body in scraps()) {
            let refused = split(&body, Lines::Declared, 100);
            prop_assert!(matches!(refused, Ok(_) | Err(Refusal::EmptyBody)), "{refused:?}");
        }
    }
}
