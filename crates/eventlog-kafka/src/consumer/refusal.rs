//! What it means when librdkafka refuses a position.

use event::{Offset, OffsetRange, PartitionId, Positions};
use eventlog::LogError;

use super::KafkaConsumer;
use crate::error::log_error;
use crate::native::NativeError;
use crate::reader::out_of_range;
use crate::truncation::{EpochEnd, epoch_end};

/// A partition whose position is refused although it is there is begun anew so often before it is an error.
const RESTARTS_MAX: u32 = 10;

impl KafkaConsumer {
    /// Looks into the positions that were refused. librdkafka fetches nothing of their partitions until
    /// they are begun again, so one that can't be looked into now stays here for the next poll.
    pub(super) fn look_into_refused(&mut self) {
        for (partition, error) in std::mem::take(&mut self.refused) {
            let outcome = match self.held(partition) {
                Ok(held) => self.position_refused(partition, held, &error),
                Err(unknown) => {
                    self.refused.insert(partition, error);
                    Err(unknown)
                }
            };
            self.ready.extend(outcome.err().map(Err));
        }
    }

    fn held(&self, partition: PartitionId) -> Result<OffsetRange, LogError> {
        let topic = self.topic.clone();
        let held = self.readers.ask_blocking(|reader| reader.watermarks(&topic, &[partition]))?;
        Ok(held[&partition])
    }

    fn position_refused(
        &mut self,
        partition: PartitionId,
        held: OffsetRange,
        error: &NativeError,
    ) -> Result<(), LogError> {
        let wanted = self.intake.next_of(partition);
        if wanted < held.start() || held.end() < wanted {
            return Err(out_of_range(&self.topic, partition, wanted, held));
        }
        match epoch_end(&error.reason) {
            Some(end) if end.is_before(wanted) => self.truncated(partition, wanted, end, error),
            _ => self.begin_anew(partition, wanted, error),
        }
    }

    /// The log of the position's epoch ends before the position. If a record lies between, it is one that
    /// was not read. If none does, the last record has only transaction markers of a later leader behind it.
    fn truncated(
        &mut self,
        partition: PartitionId,
        wanted: Offset,
        end: EpochEnd,
        error: &NativeError,
    ) -> Result<(), LogError> {
        if let EpochEnd::At(end) = end {
            let (topic, unread) = (self.topic.clone(), OffsetRange::new(end, wanted));
            match self.readers.ask_blocking(|reader| reader.has_records(&topic, partition, unread)) {
                Ok(true) => {}
                Ok(false) => return self.begin(&Positions::from_iter([(partition, wanted)])),
                Err(unknown) => {
                    self.refused.insert(partition, error.clone());
                    return Err(unknown);
                }
            }
        }
        let (topic, reason) = (self.topic.clone(), error.reason.clone());
        Err(LogError::Truncated { topic, partition, wanted, reason })
    }

    /// A position was refused that is there. Brokers do that for a moment when a partition is new or
    /// changes its leader, and librdkafka stops fetching then.
    fn begin_anew(
        &mut self,
        partition: PartitionId,
        wanted: Offset,
        error: &NativeError,
    ) -> Result<(), LogError> {
        let count = match self.restarts.get(&partition) {
            Some((at, count)) if *at == wanted => count + 1,
            _ => 1,
        };
        self.restarts.insert(partition, (wanted, count));
        tracing::warn!(topic = self.topic, %partition, offset = %wanted, reason = error.reason, "begun anew");
        self.begin(&self.position_of(partition))?;
        if count % RESTARTS_MAX == 0 {
            return Err(log_error(&self.place, &self.topic, error));
        }
        Ok(())
    }
}
