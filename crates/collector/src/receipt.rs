//! Where the log put the events of one request, as text a client can keep.
//!
//! A receipt holds no state of ours: it names a stream and offsets, and whether those have landed is
//! read from the table whenever somebody asks. Its text goes into a URL path as it is:
//!
//! ```text
//! receipt = stream "." span *("," span)
//! span    = partition "." first                 ; one event
//!         / partition "." first "-" last        ; every offset from first to last
//!         / partition "." first "~" last        ; among first to last, with others' events between
//! ```

use std::fmt;
use std::str::FromStr;

use event::{Offset, OffsetRange, PartitionId, StreamName, limits};
use eventlog::Placement;

/// Places of the events of one acknowledged request. At least one, in order, none twice.
///
/// ```
/// let receipt: collector::Receipt = "logs.0.120-125,1.7".parse()?;
/// assert_eq!(receipt.stream().as_str(), "logs");
/// assert_eq!(receipt.spans().len(), 2);
/// assert_eq!(receipt.to_string(), "logs.0.120-125,1.7");
/// # Ok::<(), collector::ReceiptError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    stream: StreamName,
    spans: Vec<Span>,
}

/// Offsets of one partition that a receipt names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The partition.
    pub partition: PartitionId,
    /// From the first event's offset to the one after the last event's; never empty.
    pub range: OffsetRange,
    /// Whether every offset of the range is an event of the receipt. When false, the range only
    /// spans them: a request scattered over more than [`limits::RECEIPT_RANGES_MAX`] ranges.
    pub exact: bool,
}

/// A text that is no receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a receipt; a receipt looks like logs.0.120-125,1.7 and comes with the answer to POST /events"
)]
pub struct ReceiptError {
    text: String,
}

impl Receipt {
    /// The receipt of events that lie at `placements`.
    ///
    /// # Panics
    /// When there is no placement: nothing was accepted, so there is nothing to acknowledge.
    #[must_use]
    pub fn new(stream: StreamName, placements: &[Placement]) -> Self {
        assert!(!placements.is_empty(), "a receipt of stream {stream} over no event");
        let mut sorted: Vec<_> = placements.iter().map(|p| (p.partition, p.offset)).collect();
        sorted.sort_unstable();
        let exact = merge(&sorted, |previous, next| previous.next() == next);
        let spans =
            if exact.len() > limits::RECEIPT_RANGES_MAX { merge(&sorted, |_, _| true) } else { exact };
        Self { stream, spans }
    }

    /// The stream the events were sent to.
    #[must_use]
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// The offsets, by partition and then by offset, without overlap.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }
}

/// Joins neighbours of one partition for which `joins(previous offset, next offset)` holds.
fn merge(sorted: &[(PartitionId, Offset)], joins: impl Fn(Offset, Offset) -> bool) -> Vec<Span> {
    sorted
        .chunk_by(|a, b| a.0 == b.0 && joins(a.1, b.1))
        .map(|run| {
            let ((partition, first), (_, last)) = (run[0], run[run.len() - 1]);
            let exact = run.windows(2).all(|pair| pair[0].1.next() == pair[1].1);
            Span { partition, range: OffsetRange::new(first, last.next()), exact }
        })
        .collect()
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.stream)?;
        for (index, span) in self.spans.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{span}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.range.start(), self.range.end().0 - 1);
        write!(f, "{}.{first}", self.partition)?;
        match (first.0 == last, self.exact) {
            (true, _) => Ok(()),
            (false, true) => write!(f, "-{last}"),
            (false, false) => write!(f, "~{last}"),
        }
    }
}

impl FromStr for Receipt {
    type Err = ReceiptError;

    fn from_str(text: &str) -> Result<Self, ReceiptError> {
        // A text that would be written otherwise is none of ours: one receipt, one spelling.
        parse(text)
            .filter(|receipt| receipt.to_string() == text)
            .ok_or_else(|| ReceiptError { text: text.chars().take(200).collect() })
    }
}

fn parse(text: &str) -> Option<Receipt> {
    let (stream, spans) = text.split_once('.')?;
    let stream = StreamName::new(stream).ok()?;
    let spans: Vec<Span> = spans.split(',').map(parse_span).collect::<Option<_>>()?;
    let in_order = spans
        .windows(2)
        .all(|pair| (pair[0].partition, pair[0].range.end()) <= (pair[1].partition, pair[1].range.start()));
    in_order.then_some(Receipt { stream, spans })
}

fn parse_span(text: &str) -> Option<Span> {
    let (partition, offsets) = text.split_once('.')?;
    let exact = !offsets.contains('~');
    let (first, last) = offsets.split_once(['-', '~']).unwrap_or((offsets, offsets));
    let first: u64 = first.parse().ok()?;
    let end = last.parse::<u64>().ok()?.checked_add(1)?;
    let range = (first < end).then(|| OffsetRange::new(Offset(first), Offset(end)))?;
    Some(Span { partition: PartitionId(partition.parse().ok()?), range, exact })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn placement(partition: u32, offset: u64) -> Placement {
        Placement { partition: PartitionId(partition), offset: Offset(offset) }
    }

    fn receipt(placements: &[Placement]) -> Receipt {
        Receipt::new(StreamName::new("logs").unwrap(), placements)
    }

    #[test]
    fn consecutive_offsets_are_one_span_in_whatever_order_they_came() {
        let placements = [placement(1, 7), placement(0, 12), placement(0, 11), placement(0, 10)];
        assert_eq!(receipt(&placements).to_string(), "logs.0.10-12,1.7");
    }

    #[test]
    fn a_request_scattered_over_many_ranges_keeps_a_short_receipt_that_says_so() {
        let scattered: Vec<_> = (0..1000).map(|n| placement(n % 2, u64::from(n) * 10)).collect();
        let receipt = receipt(&scattered);
        assert_eq!(receipt.to_string(), "logs.0.0~9980,1.10~9990");
        assert!(receipt.spans().iter().all(|span| !span.exact));
    }

    #[test]
    fn texts_that_are_no_receipts_are_refused() {
        let long = format!("logs.0.{}", u64::MAX);
        for text in [
            "",
            "logs",
            "logs.",
            "logs.0",
            "logs.0.",
            "logs.0.x",
            "logs.0.2-1",
            "logs.0.1-1",
            "logs.0.01",
            "logs.0.+1",
            "logs.1.5,0.1",
            "logs.0.1-3,0.3",
            "lo/gs.0.1",
            "logs.0.1,",
            "logs.4294967296.1",
            "logs.0.1-2~3",
            &long,
        ] {
            text.parse::<Receipt>().expect_err(text);
        }
    }

    proptest! {
        #[test]
        fn a_receipt_reads_back_as_it_was_written(places in prop::collection::btree_set((0_u32..4, 0_u64..300), 1..200)) {
            let placements: Vec<_> = places.iter().map(|&(p, o)| placement(p, o)).collect();
            let written = receipt(&placements);
            let read: Receipt = written.to_string().parse().unwrap();
            prop_assert_eq!(&read, &written);
            for (partition, offset) in places {
                let inside = read.spans().iter().any(|s| {
                    s.partition.0 == partition && s.range.start().0 <= offset && offset < s.range.end().0
                });
                prop_assert!(inside, "{}.{} is not in {}", partition, offset, written);
            }
            if read.spans().iter().all(|span| span.exact) {
                let named: u64 = read.spans().iter().map(|s| s.range.end().0 - s.range.start().0).sum();
                prop_assert_eq!(named, placements.len() as u64);
            }
        }

        #[test]
        fn a_receipt_needs_no_escaping_in_a_url(places in prop::collection::btree_set((0_u32..9, any::<u32>()), 1..200)) {
            let placements: Vec<_> = places.iter().map(|&(p, o)| placement(p, u64::from(o))).collect();
            let text = receipt(&placements).to_string();
            prop_assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "._~-,".contains(c)));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}|logs\\.[0-9.,~-]{0,40}") {
            if let Ok(receipt) = text.parse::<Receipt>() {
                prop_assert_eq!(receipt.to_string(), text);
            }
        }
    }
}
