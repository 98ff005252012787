//! A log that lost its end: what librdkafka says of it.
//!
//! A position is given to librdkafka with the leader epoch of the record before it. It asks the
//! partition's leader where the log of that epoch ends (KIP-320). An end before the position means
//! that another history took the place of what was read.
//!
//! The epoch is that of the last *record*; transaction markers behind it may be of a later one, whose
//! log begins before the position. So an end before the position is proof only if a record lies
//! between: see `KafkaConsumer::truncated`.

use event::Offset;

/// What librdkafka 2.12 says when it has compared a position with the log and they disagree; its error
/// code is the one of any refused position.
const DETECTED: &str = "Partition log truncation detected at";
const UNKNOWN: &str = "No epoch found less or equal to";
const END: &str = "broker end offset is ";

/// Where a log of some leader epoch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochEnd {
    /// At this offset.
    At(Offset),
    /// The leader knows neither that epoch nor an earlier one.
    Unknown,
}

impl EpochEnd {
    /// Whether `offset` lies behind it. What is not known may be anywhere.
    #[must_use]
    pub fn is_before(self, offset: Offset) -> bool {
        match self {
            Self::At(end) => end < offset,
            Self::Unknown => true,
        }
    }
}

/// Where the log of the position's epoch ends, if `reason` says that this is before the position.
#[must_use]
pub fn epoch_end(reason: &str) -> Option<EpochEnd> {
    if reason.contains(UNKNOWN) {
        return Some(EpochEnd::Unknown);
    }
    if !reason.contains(DETECTED) {
        return None;
    }
    let digits = reason.split(END).nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(digits.parse().map_or(EpochEnd::Unknown, |end| EpochEnd::At(Offset(end))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_read_out_of_what_librdkafka_says() {
        let detected = "Partition log truncation detected at offset 100 (leader epoch 3): broker end offset is \
                        80 (offset leader epoch 2). Reset to INVALID.: Local: Partition log truncation detected";
        assert_eq!(epoch_end(detected), Some(EpochEnd::At(Offset(80))));
        let unknown = "No epoch found less or equal to offset 100 (leader epoch 3): broker end offset is -1 \
                       (offset leader epoch -1). Reset using configured policy.";
        assert_eq!(epoch_end(unknown), Some(EpochEnd::Unknown));
        let other = "fetch failed due to requested offset not available on the broker";
        assert_eq!(epoch_end(other), None);
    }
}
