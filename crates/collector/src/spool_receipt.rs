//! What a client gets whose events went to the spool: they are durable, and have no place in the log yet.
//!
//! ```text
//! spool receipt = stream ".spool-" spool "." first ["-" last]
//! ```
//! It names the spool, which is one collector's, and the offsets there. The log's offsets are not known
//! before the events are forwarded, so none are made up.

use std::fmt;
use std::str::FromStr;

use event::{Offset, OffsetRange, StreamName};
use eventlog::spool::SpooledRange;

const MARK: &str = "spool-";
/// A spool's id is a UUID in its usual text form.
const SPOOL_ID_CHARS: usize = 36;

/// Where the events of one acknowledged request wait.
///
/// ```
/// let text = "logs.spool-0193a1f2-4b5c-7d6e-8f90-a1b2c3d4e5f6.17-19";
/// let receipt: collector::SpoolReceipt = text.parse()?;
/// assert_eq!(receipt.range.offset_count(), 3);
/// assert_eq!(receipt.to_string(), text);
/// # Ok::<(), collector::SpoolReceiptError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolReceipt {
    /// The stream the events were sent to.
    pub stream: StreamName,
    /// Identity of the spool.
    pub spool: String,
    /// One offset of the spool for each event; not empty.
    pub range: OffsetRange,
}

/// A text that is no receipt of a spool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a receipt of a spool; one looks like logs.spool-UUID.17-19")]
pub struct SpoolReceiptError {
    text: String,
}

impl SpoolReceipt {
    /// The receipt of events of `stream` that went to the spool.
    #[must_use]
    pub fn new(stream: StreamName, spooled: SpooledRange) -> Self {
        Self { stream, spool: spooled.spool, range: spooled.range }
    }
}

impl fmt::Display for SpoolReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, end) = (self.range.start().0, self.range.end().0);
        write!(f, "{}.{MARK}{}.{first}", self.stream, self.spool)?;
        if end > first + 1 { write!(f, "-{}", end - 1) } else { Ok(()) }
    }
}

impl FromStr for SpoolReceipt {
    type Err = SpoolReceiptError;

    fn from_str(text: &str) -> Result<Self, SpoolReceiptError> {
        // One receipt, one spelling.
        parse(text)
            .filter(|receipt| receipt.to_string() == text)
            .ok_or_else(|| SpoolReceiptError { text: text.chars().take(200).collect() })
    }
}

fn parse(text: &str) -> Option<SpoolReceipt> {
    let (stream, rest) = text.split_once('.')?;
    let stream = StreamName::new(stream).ok()?;
    let (spool, offsets) = rest.strip_prefix(MARK)?.split_once('.')?;
    let is_id = spool.len() == SPOOL_ID_CHARS && spool.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let (first, last) = offsets.split_once('-').unwrap_or((offsets, offsets));
    let first: u64 = first.parse().ok()?;
    let end = last.parse::<u64>().ok()?.checked_add(1)?;
    (is_id && first < end).then(|| SpoolReceipt {
        stream,
        spool: spool.to_owned(),
        range: OffsetRange::new(Offset(first), Offset(end)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Receipt;

    const ID: &str = "0193a1f2-4b5c-7d6e-8f90-a1b2c3d4e5f6";

    fn receipt(first: u64, end: u64) -> SpoolReceipt {
        let spooled =
            SpooledRange { spool: ID.to_owned(), range: OffsetRange::new(Offset(first), Offset(end)) };
        SpoolReceipt::new(StreamName::new("logs").unwrap(), spooled)
    }

    #[test]
    fn it_reads_back_as_it_was_written_and_needs_no_escaping_in_a_url() {
        for receipt in [receipt(0, 1), receipt(17, 20)] {
            let text = receipt.to_string();
            assert_eq!(text.parse(), Ok(receipt));
            assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "._~-,".contains(c)), "{text}");
        }
    }

    #[test]
    fn it_is_never_taken_for_offsets_of_the_log_nor_they_for_it() {
        receipt(17, 20).to_string().parse::<Receipt>().unwrap_err();
        "logs.0.17-19".parse::<SpoolReceipt>().unwrap_err();
    }

    #[test]
    fn texts_that_are_no_receipts_are_refused() {
        for text in [
            "".to_owned(),
            format!("logs.spool-{ID}"),
            format!("logs.spool-{ID}.2-1"),
            format!("logs.spool-{ID}.1-1"),
            format!("logs.spool-{ID}.01"),
            format!("logs.spool-{ID}.0-{}", u64::MAX),
            "logs.spool-short.1".to_owned(),
            format!("lo/gs.spool-{ID}.1"),
        ] {
            text.parse::<SpoolReceipt>().expect_err(&text);
        }
    }
}
