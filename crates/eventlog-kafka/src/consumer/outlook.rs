//! What no message tells: transactions that stay open, a topic that was made anew.

use std::time::Duration;

use eventlog::LogError;

use super::KafkaConsumer;
use crate::native::high_watermark;
use crate::open_transactions::HeldBack;
use crate::partition::{native_partition, offset};

/// Time the question for the topic may hold up the polls.
const QUESTION_WAIT: Duration = Duration::from_secs(1);

impl KafkaConsumer {
    /// Looks now and then at what no message tells.
    pub(super) fn look_around(&mut self) -> Result<(), LogError> {
        let now = self.clock.monotonic();
        if self.open_transactions.is_due(now) {
            self.look_for_open_transactions(now);
        }
        if self.watch.is_due(now) { self.look_at_topic() } else { Ok(()) }
    }

    fn look_for_open_transactions(&mut self, now: Duration) {
        let mut held_back = Vec::new();
        for (partition, at) in self.intake.ended() {
            let native = native_partition(partition);
            let high = high_watermark(&self.consumer, &self.topic, native).and_then(offset).unwrap_or(at);
            let offset_count = high.0.saturating_sub(at.0);
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            metrics::gauge!(
                "laker_log_held_back_offsets",
                "topic" => self.topic.clone(), "partition" => partition.to_string()
            )
            .set(offset_count as f64);
            if offset_count > 0 {
                held_back.push(HeldBack { partition, at, offset_count });
            }
        }
        for HeldBack { partition, at, offset_count } in self.open_transactions.judge(now, &held_back) {
            tracing::warn!(
                topic = self.topic, %partition, offset = %at, held_back = offset_count,
                "an open transaction holds back what comes after it; if its producer is gone, find and abort it \
                 with kafka-transactions.sh"
            );
        }
    }

    fn look_at_topic(&self) -> Result<(), LogError> {
        match self.readers.ask_blocking(|reader| reader.identity(&self.topic, QUESTION_WAIT)) {
            Ok(found) if found != *self.watch.id() => Err(LogError::TopicRecreated {
                topic: self.topic.clone(),
                expected: self.watch.id().clone(),
                found,
            }),
            // A broker that can't be asked is no news of the topic; one that was deleted is told of by
            // librdkafka.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
