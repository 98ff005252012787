//! What a sender broke in a way that has one meaning only.
//!
//! A repair never guesses: it takes away what surrounds an event and leaves the event as it is. One
//! payload stays one event, since its place in the log is its identity.

use std::borrow::Cow;
use std::str::FromStr;

use crate::json::skip_value;
use crate::text::unescape;

/// The mark some editors and libraries put before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A repair of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// A byte order mark before the event is taken away.
    ByteOrderMark,
    /// A JSON string whose text is an event is that event: it was serialised twice.
    EncodedTwice,
}

impl Repair {
    /// All there are, in the order they are tried in.
    pub const ALL: [Self; 2] = [Self::ByteOrderMark, Self::EncodedTwice];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "byte-order-mark",
            Self::EncodedTwice => "encoded-twice",
        }
    }
}

impl FromStr for Repair {
    type Err = UnknownRepair;

    fn from_str(name: &str) -> Result<Self, UnknownRepair> {
        let found = Self::ALL.into_iter().find(|repair| repair.name() == name);
        found.ok_or_else(|| UnknownRepair(name.to_owned()))
    }
}

/// A name that is no repair.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no repair {0:?}: use byte-order-mark or encoded-twice")]
pub struct UnknownRepair(String);

/// `payload` after `repairs`, each where it applies.
#[must_use]
pub fn repaired<'a>(payload: &'a [u8], repairs: &[Repair]) -> Cow<'a, [u8]> {
    let mut rest = payload;
    if repairs.contains(&Repair::ByteOrderMark) {
        rest = rest.strip_prefix(BYTE_ORDER_MARK).unwrap_or(rest);
    }
    let inner = repairs.contains(&Repair::EncodedTwice).then(|| text_in(rest)).flatten();
    inner.map_or(Cow::Borrowed(rest), |text| Cow::Owned(text.into_bytes()))
}

/// Every payload that some choice of repairs makes of `payload`, itself first.
#[must_use]
pub fn readings(payload: &[u8]) -> Vec<Cow<'_, [u8]>> {
    let choices: [&[Repair]; 4] = [&[], &[Repair::ByteOrderMark], &[Repair::EncodedTwice], &Repair::ALL];
    let mut readings: Vec<Cow<'_, [u8]>> = Vec::new();
    for choice in choices {
        let reading = repaired(payload, choice);
        if !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    readings
}

/// The text of a payload that is one JSON string and nothing else.
fn text_in(payload: &[u8]) -> Option<String> {
    let payload = payload.trim_ascii();
    let is_string = payload.first() == Some(&b'"') && skip_value(payload, 0, 1) == Ok(payload.len());
    let inner = std::str::from_utf8(payload).ok().filter(|_| is_string)?;
    let mut text = String::new();
    unescape(&inner[1..inner.len() - 1], &mut text).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(payload: &str) -> String {
        String::from_utf8(repaired(payload.as_bytes(), &Repair::ALL).into_owned()).unwrap()
    }

    #[test]
    fn what_surrounds_an_event_is_taken_away_and_the_event_stays() {
        assert_eq!(all("\u{feff}{\"a\":1}"), r#"{"a":1}"#);
        assert_eq!(all(r#" "{\"a\":\"\u00e9\"}" "#), "{\"a\":\"é\"}");
        assert_eq!(all("\u{feff}\"{}\""), "{}");
    }

    #[test]
    fn what_has_no_single_meaning_stays_as_it_is() {
        for payload in ["{'a':1}", "{\"a\":1", "[{}]", "{}\n{}", "\"\\ud800\"", "\"a", "{}"] {
            assert_eq!(all(payload), payload);
        }
        let marked = "\u{feff}{}".as_bytes();
        assert_eq!(&*repaired(marked, &[Repair::EncodedTwice]), marked, "only what was asked for");
    }

    #[test]
    fn a_repair_reads_back_from_its_name() {
        for repair in Repair::ALL {
            assert_eq!(repair.name().parse(), Ok(repair));
        }
        assert!("fix".parse::<Repair>().unwrap_err().to_string().contains("encoded-twice"));
    }
}
