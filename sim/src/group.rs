//! A simulated group: who owns which partition, and members that are late, lost or replaced.
//!
//! Two protocols: cooperative, where only partitions that move are revoked, and eager, where a change
//! revokes everything first. Where a partition goes is drawn anew with each change, so that many move.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use event::{Offset, OffsetRange, PartitionId, Positions, limits};
use eventlog::{Consumer, Fetched, LogError, Polled};

use crate::executor::{ProcessId, is_simulated};
use crate::log::{LogServer, Topic, missing, unavailable};
use crate::network::Network;

/// Time without a poll after which a member is taken for dead.
pub const SESSION: Duration = Duration::from_secs(10);
/// Time a member has to give partitions back.
const REBALANCE: Duration = Duration::from_secs(30);

/// One group's members and their partitions.
#[derive(Debug, Default)]
pub struct Group {
    members: BTreeMap<u64, Member>,
    last_member: u64,
    /// Decides where partitions go.
    salt: u64,
    /// Whether everything is revoked before anything is assigned.
    eager: bool,
    /// Set while an eager group waits for its partitions to come back.
    is_gathering: bool,
}

#[derive(Debug, Default)]
struct Member {
    owned: BTreeSet<PartitionId>,
    /// Revoked and not yet given back.
    unreleased: BTreeSet<PartitionId>,
    revoked_at: Duration,
    changes: VecDeque<Change>,
    polled_at: Duration,
}

#[derive(Debug)]
enum Change {
    Assigned(Vec<PartitionId>),
    Revoked(Vec<PartitionId>),
}

impl Group {
    /// A group without members. An `eager` one revokes everything before it assigns anything.
    #[must_use]
    pub fn new(eager: bool) -> Self {
        Self { eager, ..Self::default() }
    }

    fn join(&mut self, now: Duration, salt: u64) -> u64 {
        self.last_member += 1;
        self.members.insert(self.last_member, Member { polled_at: now, ..Member::default() });
        self.change(salt);
        self.last_member
    }

    fn leave(&mut self, member: u64, salt: u64) {
        if self.members.remove(&member).is_some() {
            self.change(salt);
        }
    }

    /// Deals partitions out anew.
    pub fn change(&mut self, salt: u64) {
        self.salt = salt;
        self.is_gathering = self.eager;
    }

    /// Throws a member out, as when its heartbeats were lost.
    pub fn expel_one(&mut self, salt: u64) {
        let index = usize::try_from(salt % (self.members.len().max(1) as u64)).unwrap_or(0);
        if let Some(member) = self.members.keys().nth(index).copied() {
            self.leave(member, salt);
        }
    }

    /// Does what is due: throws out the dead, revokes, assigns.
    fn step(&mut self, partition_count: u32, now: Duration) {
        let is_dead = |member: &Member| {
            member.polled_at + SESSION < now
                || (!member.unreleased.is_empty() && member.revoked_at + REBALANCE < now)
        };
        let dead: Vec<u64> = self.members.iter().filter(|(_, m)| is_dead(m)).map(|(id, _)| *id).collect();
        for member in dead {
            self.leave(member, self.salt + 1);
        }
        let target = self.target(partition_count);
        let is_gathering = self.is_gathering;
        for (id, member) in &mut self.members {
            let leaving = |p: &&PartitionId| is_gathering || target.get(*p) != Some(id);
            let moving: Vec<PartitionId> = member.owned.iter().filter(leaving).copied().collect();
            if !moving.is_empty() && member.unreleased.is_empty() && member.changes.is_empty() {
                member.unreleased = moving.iter().copied().collect();
                member.revoked_at = now;
                member.changes.push_back(Change::Revoked(moving));
            }
        }
        let taken: BTreeSet<PartitionId> =
            self.members.values().flat_map(|m| m.owned.iter().copied()).collect();
        if self.is_gathering && !taken.is_empty() {
            return;
        }
        self.is_gathering = false;
        for (id, member) in &mut self.members {
            let new: Vec<PartitionId> =
                target.iter().filter(|(p, to)| *to == id && !taken.contains(p)).map(|(p, _)| *p).collect();
            if !new.is_empty() && member.unreleased.is_empty() {
                member.owned.extend(&new);
                member.changes.push_back(Change::Assigned(new));
            }
        }
    }

    fn target(&self, partition_count: u32) -> BTreeMap<PartitionId, u64> {
        let members: Vec<u64> = self.members.keys().copied().collect();
        let to = |p: u32| {
            let index = (u64::from(p) + self.salt).checked_rem(members.len() as u64)?;
            members.get(usize::try_from(index).ok()?).map(|member| (PartitionId(p), *member))
        };
        (0..partition_count).filter_map(to).collect()
    }

    fn release(&mut self, member: u64, partitions: &[PartitionId]) {
        if let Some(member) = self.members.get_mut(&member) {
            for partition in partitions {
                if member.unreleased.remove(partition) {
                    member.owned.remove(partition);
                }
            }
        }
    }
}

/// One member.
#[derive(Debug)]
pub struct SimConsumer {
    server: LogServer,
    network: Network,
    process: ProcessId,
    topic: String,
    group: String,
    member: u64,
    /// What it believes to own.
    owned: BTreeSet<PartitionId>,
    /// Where each started partition goes on.
    next: BTreeMap<PartitionId, Offset>,
    is_paused: bool,
    last: PartitionId,
    /// Revocations the worker has not answered, and whether the group still waits for the answer.
    unanswered: VecDeque<bool>,
}

impl SimConsumer {
    /// Joins `group`.
    ///
    /// # Errors
    /// [`LogError::TopicMissing`].
    pub fn join(
        server: &LogServer,
        network: &Network,
        process: ProcessId,
        topic: &str,
        group: &str,
    ) -> Result<Self, LogError> {
        let mut consumer = Self {
            server: server.clone(),
            network: network.clone(),
            process,
            topic: topic.to_owned(),
            group: group.to_owned(),
            member: 0,
            owned: BTreeSet::new(),
            next: BTreeMap::new(),
            is_paused: false,
            last: PartitionId(0),
            unanswered: VecDeque::new(),
        };
        consumer.rejoin()?;
        Ok(consumer)
    }

    fn rejoin(&mut self) -> Result<(), LogError> {
        let (now, salt) = (self.server.executor.now(), self.salt());
        let server = self.server.clone();
        let topics = &mut *server.topics();
        let topic = topics.get_mut(&self.topic).ok_or_else(|| missing(&self.topic))?;
        self.member = topic.groups.entry(self.group.clone()).or_default().join(now, salt);
        Ok(())
    }

    fn salt(&self) -> u64 {
        self.server.executor.draw(|chance| chance.below(1 << 20))
    }

    /// What the group has to say, as a poll does it.
    fn change(&mut self) -> Result<Option<Polled>, LogError> {
        let now = self.server.executor.now();
        let server = self.server.clone();
        let change = {
            let topics = &mut *server.topics();
            let topic = topics.get_mut(&self.topic).ok_or_else(|| missing(&self.topic))?;
            let partition_count = u32::try_from(topic.ranges().count()).unwrap_or(u32::MAX);
            let group = topic.groups.entry(self.group.clone()).or_default();
            if let Some(member) = group.members.get_mut(&self.member)
                && member.polled_at + SESSION >= now
            {
                member.polled_at = now;
            }
            group.step(partition_count, now);
            match group.members.get_mut(&self.member) {
                None => None,
                Some(member) => Some(member.changes.pop_front()),
            }
        };
        let Some(change) = change else { return self.be_expelled() };
        Ok(change.map(|change| self.take(change)))
    }

    /// The group took this member for dead.
    fn be_expelled(&mut self) -> Result<Option<Polled>, LogError> {
        self.rejoin()?;
        let partitions: Vec<PartitionId> = std::mem::take(&mut self.owned).into_iter().collect();
        self.next.clear();
        self.unanswered.iter_mut().for_each(|is_waited_for| *is_waited_for = false);
        if partitions.is_empty() {
            return Ok(None);
        }
        self.unanswered.push_back(false);
        Ok(Some(Polled::Revoked { partitions, lost: true }))
    }

    fn take(&mut self, change: Change) -> Polled {
        match change {
            Change::Assigned(partitions) => {
                self.owned.extend(&partitions);
                Polled::Assigned(partitions)
            }
            Change::Revoked(partitions) => {
                for partition in &partitions {
                    self.owned.remove(partition);
                    self.next.remove(partition);
                }
                self.unanswered.push_back(true);
                Polled::Revoked { partitions, lost: false }
            }
        }
    }

    fn fetch(&mut self) -> Result<Option<Polled>, LogError> {
        let server = self.server.clone();
        let topics = server.topics();
        let topic = topics.get(&self.topic).ok_or_else(|| missing(&self.topic))?;
        let Some((partition, from)) = self.with_news(topic) else { return Ok(None) };
        let end = topic.end(partition);
        if end < from {
            return Err(out_of_range(&self.topic, partition, from, end));
        }
        let width = match is_simulated() {
            true => self.server.executor.draw(|chance| chance.within(1..60)),
            false => limits::FETCH_RECORDS_MAX as u64,
        };
        let range = OffsetRange::new(from, Offset(end.0.min(from.0.saturating_add(width))));
        let records = topic.records(partition, range);
        self.next.insert(partition, range.end());
        self.last = partition;
        Ok(Some(Polled::Fetched(Fetched { partition, range, records })))
    }

    /// The partition after the last one that has something new, or a position that is not there.
    fn with_news(&self, topic: &Topic) -> Option<(PartitionId, Offset)> {
        let has_news = |(p, next): &(&PartitionId, &Offset)| topic.end(**p) != **next;
        let after = PartitionId(self.last.0 + 1);
        let found =
            self.next.range(after..).find(has_news).or_else(|| self.next.range(..after).find(has_news));
        found.map(|(partition, next)| (*partition, *next))
    }

    fn may_fail(&self, what: &str) -> Result<(), LogError> {
        if is_simulated() && self.network.is_struck(|rates| rates.lost_before) {
            self.server.executor.trace(self.process, || format!("consumer: {what} fails"));
            return Err(unavailable(what));
        }
        Ok(())
    }

    fn trace(&self, polled: &Polled) {
        self.server.executor.trace(self.process, || match polled {
            Polled::Nothing => "consumer: nothing".to_owned(),
            Polled::Assigned(partitions) => format!("consumer: assigned {}", list(partitions)),
            Polled::Revoked { partitions, lost } => {
                format!("consumer: {} {}", if *lost { "lost" } else { "revoked" }, list(partitions))
            }
            Polled::Fetched(fetched) => format!(
                "consumer: fetched {} of {}, {} records",
                fetched.range,
                fetched.partition,
                fetched.records.len()
            ),
        });
    }
}

fn list(partitions: &[PartitionId]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn out_of_range(topic: &str, partition: PartitionId, wanted: Offset, next: Offset) -> LogError {
    LogError::OffsetOutOfRange { topic: topic.to_owned(), partition, wanted, first: Offset::ZERO, next }
}

impl Consumer for SimConsumer {
    /// Never waits: time stands still while a task runs.
    fn poll(&mut self, _wait: Duration) -> Result<Polled, LogError> {
        self.may_fail("poll")?;
        let polled = match self.change()? {
            Some(change) => change,
            None if self.is_paused => return Ok(Polled::Nothing),
            None => match self.fetch()? {
                Some(fetched) => fetched,
                None => return Ok(Polled::Nothing),
            },
        };
        self.trace(&polled);
        Ok(polled)
    }

    fn start(&mut self, positions: &Positions) -> Result<(), LogError> {
        self.may_fail("start")?;
        let topics = self.server.topics();
        let topic = topics.get(&self.topic).ok_or_else(|| missing(&self.topic))?;
        for (partition, from) in positions.iter().filter(|(partition, _)| self.owned.contains(partition)) {
            if from > topic.end(partition) {
                return Err(out_of_range(&self.topic, partition, from, topic.end(partition)));
            }
            self.next.insert(partition, from);
            self.server.executor.trace(self.process, || format!("consumer: start {partition} at {from}"));
        }
        Ok(())
    }

    fn pause(&mut self) -> Result<(), LogError> {
        self.is_paused = true;
        Ok(())
    }

    fn resume(&mut self) -> Result<(), LogError> {
        self.is_paused = false;
        Ok(())
    }

    fn release(&mut self, partitions: &[PartitionId]) -> Result<(), LogError> {
        if self.unanswered.pop_front() != Some(true) {
            return Ok(());
        }
        self.server.executor.trace(self.process, || format!("consumer: release {}", list(partitions)));
        let server = self.server.clone();
        let topics = &mut *server.topics();
        let topic = topics.get_mut(&self.topic).ok_or_else(|| missing(&self.topic))?;
        topic.groups.entry(self.group.clone()).or_default().release(self.member, partitions);
        Ok(())
    }

    fn advise(&mut self, _landed: &Positions) {}
}

impl Drop for SimConsumer {
    /// A process that ends well leaves its group; one that was killed is missed after a while.
    fn drop(&mut self) {
        if !self.server.executor.is_alive(self.process) {
            return;
        }
        let salt = self.salt();
        if let Some(topic) = self.server.topics().get_mut(&self.topic)
            && let Some(group) = topic.groups.get_mut(&self.group)
        {
            group.leave(self.member, salt);
        }
    }
}
