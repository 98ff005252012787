//! Where a partition is read from: positions handed to librdkafka, and compared with the log there.

use std::time::Duration;

use event::{Offset, PartitionId, Positions};
use eventlog::LogError;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;

use super::KafkaConsumer;
use crate::error::log_error;
use crate::native::set_leader_epoch;
use crate::partition::{native_offset, native_partition};

/// Time a jump within a running partition may take.
const SEEK_WAIT: Duration = Duration::from_secs(5);

impl KafkaConsumer {
    /// Has librdkafka fetch the partitions from these offsets on, whether it fetches them already or not.
    /// Keeps what is ready to be delivered.
    pub(super) fn begin(&mut self, positions: &Positions) -> Result<(), LogError> {
        for (partition, from) in positions.iter() {
            self.intake.start(partition, from, positions.epoch(partition));
            self.unheard.insert(partition);
            self.unproven.remove(&partition);
        }
        self.attach_unheard();
        let all = positions.iter().map(|(partition, _)| partition);
        let (jumping, new): (Vec<_>, Vec<_>) = all.partition(|partition| self.group().is_fetched(*partition));
        let begun = self.assign(&positions.of(&new)).and_then(|()| self.jump(&positions.of(&jumping)));
        begun.map_err(|error| log_error(&self.place, &self.topic, &error.into()))?;
        self.prove();
        Ok(())
    }

    pub(super) fn position_of(&self, partition: PartitionId) -> Positions {
        let mut position = Positions::new();
        position.set_under(partition, self.intake.next_of(partition), self.intake.epoch_of(partition));
        position
    }

    /// Has librdkafka compare the positions of new partitions with the log. It does so on a jump only, and
    /// one whose fetching has not begun yet can't jump: then it is tried again before the next fetch.
    pub(super) fn prove(&mut self) {
        for partition in self.unproven.clone() {
            let position = self.position_of(partition);
            let jumped = self.list(&position).and_then(|list| self.consumer.seek_partitions(list, SEEK_WAIT));
            if jumped.is_ok_and(|jumped| has_jumped(&jumped, &self.topic, partition)) {
                self.unproven.remove(&partition);
            }
        }
    }

    /// A stop that is under way clears where a partition's records go, at a moment nobody tells. What
    /// came meanwhile waits in the partition's own queue, and comes along when it is attached again.
    pub(super) fn attach_unheard(&self) {
        for partition in &self.unheard {
            self.queue.attach(&self.topic, native_partition(*partition));
        }
    }

    fn assign(&mut self, positions: &Positions) -> Result<(), KafkaError> {
        if positions.is_empty() {
            return Ok(());
        }
        self.consumer.incremental_assign(&self.list(positions)?)?;
        self.group().note_fetched(positions.iter().map(|(partition, _)| partition));
        self.unproven.extend(with_epoch(positions));
        Ok(())
    }

    fn jump(&mut self, positions: &Positions) -> Result<(), KafkaError> {
        if positions.is_empty() {
            return Ok(());
        }
        // Raises the partitions' versions before it returns: what was fetched before is thrown away.
        let jumped = self.consumer.seek_partitions(self.list(positions)?, SEEK_WAIT)?;
        let all = positions.iter().map(|(partition, _)| partition);
        let stuck: Vec<_> = all.filter(|partition| !has_jumped(&jumped, &self.topic, *partition)).collect();
        if stuck.is_empty() {
            return Ok(());
        }
        // One that is not being fetched at the moment can't jump, but it can be begun anew.
        let stuck = positions.of(&stuck);
        let list = self.list(&stuck)?;
        self.consumer.incremental_unassign(&list)?;
        self.unproven.extend(with_epoch(&stuck));
        self.consumer.incremental_assign(&list)
    }

    pub(super) fn list(&self, positions: &Positions) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, from) in positions.iter() {
            let (native, from) = (native_partition(partition), rdkafka::Offset::Offset(native_offset(from)));
            list.add_partition_offset(&self.topic, native, from)?;
            if let Some(epoch) = positions.epoch(partition) {
                set_leader_epoch(&mut list, &self.topic, native, epoch.0);
            }
        }
        Ok(list)
    }
}

/// Partitions whose leader epoch is known. Before the first record there is nothing to compare.
fn with_epoch(positions: &Positions) -> impl Iterator<Item = PartitionId> + '_ {
    let behind_something = positions.iter().filter(|(_, from)| *from > Offset::ZERO);
    behind_something.map(|(partition, _)| partition).filter(|p| positions.epoch(*p).is_some())
}

fn has_jumped(jumped: &TopicPartitionList, topic: &str, partition: PartitionId) -> bool {
    let element = jumped.find_partition(topic, native_partition(partition));
    element.is_some_and(|element| element.error().is_ok())
}
