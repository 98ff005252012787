//! One dead letter, so that a person sees what is wrong.

use std::fmt::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use decode::repair::repaired;
use decode::{DeadReason, EventLimits, Repair, check_event, columns};

/// Bytes that are shown before and after the place where a letter breaks.
const AROUND_BYTES: usize = 120;
/// Bytes that are shown of a letter that breaks nowhere.
const SHOWN_BYTES: usize = 2_000;
/// Bytes in a line of a hexadecimal dump.
const HEX_LINE: usize = 16;

/// A dead letter with its state.
#[derive(Debug)]
pub(super) struct Letter {
    place: String,
    received_at: String,
    reason: String,
    detail: String,
    state: String,
    replayed_at: String,
    pub(super) raw: Vec<u8>,
}

impl Letter {
    /// The first letter in `batch`, if there is one.
    pub(super) fn read(batch: &RecordBatch) -> Option<Self> {
        let column = |name: &str| batch.column_by_name(name).filter(|column| !column.is_empty());
        let text = |name: &str| {
            let text = column(name).and_then(|column| column.as_string_opt::<i32>());
            text.filter(|text| text.is_valid(0)).map(|text| text.value(0).to_owned()).unwrap_or_default()
        };
        let partition = column(columns::PARTITION)?.as_primitive_opt::<Int32Type>()?.value(0);
        let offset = column(columns::OFFSET)?.as_primitive_opt::<Int64Type>()?.value(0);
        Some(Self {
            place: format!("{partition}:{offset}"),
            received_at: text("received_at"),
            reason: text(columns::REASON),
            detail: text(columns::DETAIL),
            state: text("state"),
            replayed_at: text("replayed_at"),
            raw: column(columns::RAW)?.as_binary_opt::<i32>()?.value(0).to_vec(),
        })
    }

    /// All of it, for eyes.
    pub(super) fn text(&self, stream: &str, limits: EventLimits) -> String {
        let mut text = format!("dead letter {} of {stream}\n\n", self.place);
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:9} {value}");
        };
        line("reason", &format!("{}: {}", self.reason, self.detail));
        line("received", &self.received_at);
        line("bytes", &self.raw.len().to_string());
        let replayed =
            if self.replayed_at.is_empty() { String::new() } else { format!(" at {}", self.replayed_at) };
        line("state", &format!("{}{replayed}", self.state));
        let verdict = check_event(&self.raw, limits);
        if self.state == "pending" {
            line("way out", &self.way_out(&verdict, limits));
        }
        text.push('\n');
        text.push_str(&excerpt(&self.raw, broken_at(&verdict)));
        text
    }

    fn way_out(&self, verdict: &Result<(), DeadReason>, limits: EventLimits) -> String {
        let (partition, offset) = self.place.split_once(':').unwrap_or_default();
        let place = format!("--where \"_partition = {partition} AND _offset = {offset}\"");
        if verdict.is_ok() {
            return format!("it is an event now: laker dead replay {place}");
        }
        let is_repaired = |repairs: &[Repair]| check_event(&repaired(&self.raw, repairs), limits).is_ok();
        let choices: [&[Repair]; 3] = [&[Repair::ByteOrderMark], &[Repair::EncodedTwice], &Repair::ALL];
        match choices.into_iter().find(|choice| is_repaired(choice)) {
            Some(choice) => {
                let flags: Vec<String> =
                    choice.iter().map(|repair| format!("--repair {}", repair.name())).collect();
                format!("laker dead replay {} {place}", flags.join(" "))
            }
            None => {
                "none without a guess: correct the sender; --raw gives the bytes to send corrected".to_owned()
            }
        }
    }
}

/// Index of the byte that is wrong, where one is.
fn broken_at(verdict: &Result<(), DeadReason>) -> Option<usize> {
    match verdict {
        Err(
            DeadReason::InvalidUtf8 { at }
            | DeadReason::InvalidJson { at, .. }
            | DeadReason::TooDeep { at, .. },
        ) => Some(*at),
        _ => None,
    }
}

/// The bytes around `at`, or the first of them: as text, or as hexadecimal where they are none.
fn excerpt(raw: &[u8], at: Option<usize>) -> String {
    let (from, to) = match at {
        Some(at) => (at.saturating_sub(AROUND_BYTES), (at + AROUND_BYTES).min(raw.len())),
        None => (0, SHOWN_BYTES.min(raw.len())),
    };
    match std::str::from_utf8(raw) {
        Ok(whole) => text_excerpt(whole, from, to, at),
        Err(_) => hex_excerpt(raw, from, to, at),
    }
}

fn text_excerpt(whole: &str, from: usize, to: usize, at: Option<usize>) -> String {
    let (from, to) = (whole.floor_char_boundary(from), whole.ceil_char_boundary(to));
    let shown =
        |part: &str| part.chars().map(|c| if c.is_control() { '\u{b7}' } else { c }).collect::<String>();
    let before = if from > 0 { "…" } else { "" };
    let after = if to < whole.len() { "…" } else { "" };
    let mut text = format!("{before}{}{after}\n", shown(&whole[from..to]));
    if let Some(at) = at {
        let up_to = whole.floor_char_boundary(at.min(whole.len()));
        let width =
            unicode_width::UnicodeWidthStr::width(format!("{before}{}", shown(&whole[from..up_to])).as_str());
        let _ = writeln!(text, "{}^ byte {at}", " ".repeat(width));
    }
    text
}

fn hex_excerpt(raw: &[u8], from: usize, to: usize, at: Option<usize>) -> String {
    let from = from / HEX_LINE * HEX_LINE;
    let mut text = String::new();
    for (index, line) in raw[from..to].chunks(HEX_LINE).enumerate() {
        let start = from + index * HEX_LINE;
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let plain: String = line
            .iter()
            .map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '\u{b7}' })
            .collect();
        let is_here = at.is_some_and(|at| (start..start + HEX_LINE).contains(&at));
        let mark = if is_here { format!("  <- byte {}", at.unwrap_or(0)) } else { String::new() };
        let _ = writeln!(text, "{start:08x}  {:47}  {plain}{mark}", hex.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(raw: &[u8]) -> String {
        let letter = Letter {
            place: "0:42".to_owned(),
            received_at: "2026-03-09T10:00:00Z".to_owned(),
            reason: "invalid_json".to_owned(),
            detail: "byte 5: expected a value".to_owned(),
            state: "pending".to_owned(),
            replayed_at: String::new(),
            raw: raw.to_vec(),
        };
        letter.text("logs", EventLimits::default())
    }

    #[test]
    fn the_place_where_it_breaks_is_pointed_at() {
        let shown = letter("{\"이름\":tru}".as_bytes());
        let lines: Vec<&str> = shown.lines().rev().take(2).collect();
        assert_eq!(lines, ["        ^ byte 10", "{\"이름\":tru}"]);
    }

    #[test]
    fn what_is_no_text_is_shown_in_hexadecimal() {
        let shown = letter(b"{\"a\":\"\xff\"}");
        assert!(
            shown.ends_with(
                "00000000  7b 22 61 22 3a 22 ff 22 7d                       {\"a\":\"·\"}  <- byte 6\n"
            ),
            "{shown}"
        );
    }

    #[test]
    fn a_way_out_is_named_where_there_is_one() {
        assert!(
            letter(b"{}").contains(
                "it is an event now: laker dead replay --where \"_partition = 0 AND _offset = 42\""
            )
        );
        assert!(
            letter("\u{feff}{}".as_bytes()).contains("laker dead replay --repair byte-order-mark --where")
        );
        assert!(letter(b"{'a':1}").contains("none without a guess"));
    }

    #[test]
    fn of_a_long_letter_the_part_that_breaks_is_shown() {
        let long = format!("{{\"a\":\"{}\",\"b\":x}}", "y".repeat(5_000));
        let shown = letter(long.as_bytes());
        assert!(shown.len() < 1_000 && shown.contains("…y") && shown.contains("^ byte 5012"), "{shown}");
    }
}
