//! Events per second and by action over the last ten minutes.
//!
//! A ring of one bucket per second; memory does not grow with the number of events or of actions.

use std::collections::HashMap;
use std::sync::Arc;

use event::TimestampMicros;
use event::limits::{LIVE_ACTIONS_MAX, LIVE_WINDOW_SECONDS};

/// Seconds beyond the window that a bucket lives: the current one and the one that settles.
const SLACK_SECONDS: usize = 4;
const RING: usize = LIVE_WINDOW_SECONDS + SLACK_SECONDS;
/// Slot of events that name no action.
const NONE: usize = 0;
/// Slot of actions beyond the limit.
const OTHER: usize = 1;
const SLOTS: usize = LIVE_ACTIONS_MAX + 2;

/// A second takes this long after its end until its count is shown: reading has a delay of its own.
const SETTLE_MICROS: i64 = 500_000;
const MICROS: i64 = 1_000_000;

/// Counts of one stream.
#[derive(Debug)]
pub(crate) struct Counts {
    buckets: Vec<Bucket>,
    /// Name in each slot; `None` for the two that have no name and for free ones.
    names: Vec<Option<Arc<str>>>,
    slots: HashMap<Arc<str>, usize>,
    /// Second in which free slots were last looked for.
    swept_at: i64,
}

#[derive(Debug, Clone)]
struct Bucket {
    second: i64,
    events: u64,
    bytes: u64,
    by_slot: [u32; SLOTS],
}

const EMPTY: Bucket = Bucket { second: i64::MIN, events: 0, bytes: 0, by_slot: [0; SLOTS] };

/// Counts of the last [`LIVE_WINDOW_SECONDS`] whole seconds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Seconds since 1970 of the first of them.
    pub(crate) first_second: i64,
    /// Events in each.
    pub(crate) events: Vec<u64>,
    /// Payload bytes in each.
    pub(crate) bytes: Vec<u64>,
    /// The actions asked for, most frequent first.
    pub(crate) actions: Vec<ActionWindow>,
    /// All others together.
    pub(crate) other: Vec<u64>,
}

/// One action's counts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ActionWindow {
    /// Its name; `None` stands for events that name no action.
    pub(crate) action: Option<Arc<str>>,
    /// Events in the window.
    pub(crate) total: u64,
    /// Events in each second.
    pub(crate) events: Vec<u64>,
}

impl Counts {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        Self {
            buckets: vec![EMPTY; RING],
            names: vec![None; SLOTS],
            slots: HashMap::new(),
            swept_at: i64::MIN,
        }
    }

    /// Counts one event in the second the log took it. One whose time lies outside the window (a
    /// producer's wrong clock, a backfill) counts as arriving now.
    pub(crate) fn add(
        &mut self,
        received_at: TimestampMicros,
        now: TimestampMicros,
        bytes: usize,
        action: Option<String>,
    ) {
        let now = now.0.div_euclid(MICROS);
        let received = received_at.0.div_euclid(MICROS);
        let in_window = received <= now && now.saturating_sub(received) < LIVE_WINDOW_SECONDS as i64;
        let second = if in_window { received } else { now };
        let slot = action.map_or(NONE, |name| self.slot(name, now));
        let bucket = &mut self.buckets[place(second)];
        if bucket.second != second {
            *bucket = Bucket { second, ..EMPTY };
        }
        bucket.events += 1;
        bucket.bytes += bytes as u64;
        bucket.by_slot[slot] = bucket.by_slot[slot].saturating_add(1);
    }

    /// The window as of `now`, with the `actions_max` most frequent actions by name.
    pub(crate) fn window(&self, now: TimestampMicros, actions_max: usize) -> Window {
        let end = (now.0 - SETTLE_MICROS).div_euclid(MICROS);
        let first_second = end - LIVE_WINDOW_SECONDS as i64;
        let series =
            |of: &dyn Fn(&Bucket) -> u64| (first_second..end).map(|s| self.bucket(s).map_or(0, of)).collect();
        let (named, rest) = self.rank(first_second, end, actions_max);
        let actions = named.into_iter().map(|(slot, total)| ActionWindow {
            action: self.names[slot].clone(),
            total,
            events: series(&|bucket| u64::from(bucket.by_slot[slot])),
        });
        Window {
            first_second,
            events: series(&|bucket| bucket.events),
            bytes: series(&|bucket| bucket.bytes),
            actions: actions.collect(),
            other: series(&|bucket| rest.iter().map(|slot| u64::from(bucket.by_slot[*slot])).sum()),
        }
    }

    /// Slots with their totals, most frequent first, and the slots counted together as other.
    fn rank(&self, first: i64, end: i64, actions_max: usize) -> (Vec<(usize, u64)>, Vec<usize>) {
        let totals = self.totals(first, end);
        let mut ranked: Vec<(usize, u64)> = (0..SLOTS)
            .filter(|slot| *slot != OTHER && totals[*slot] > 0)
            .map(|slot| (slot, totals[slot]))
            .collect();
        ranked.sort_by_key(|(slot, total)| (std::cmp::Reverse(*total), *slot));
        let beyond = ranked.split_off(actions_max.min(ranked.len()));
        let rest = std::iter::once(OTHER).chain(beyond.into_iter().map(|(slot, _)| slot)).collect();
        (ranked, rest)
    }

    fn totals(&self, first: i64, end: i64) -> [u64; SLOTS] {
        let mut totals = [0_u64; SLOTS];
        for bucket in (first..end).filter_map(|second| self.bucket(second)) {
            for (total, count) in totals.iter_mut().zip(bucket.by_slot) {
                *total += u64::from(count);
            }
        }
        totals
    }

    fn bucket(&self, second: i64) -> Option<&Bucket> {
        let bucket = &self.buckets[place(second)];
        (bucket.second == second).then_some(bucket)
    }

    fn slot(&mut self, name: String, now: i64) -> usize {
        if let Some(slot) = self.slots.get(name.as_str()) {
            return *slot;
        }
        if self.slots.len() == LIVE_ACTIONS_MAX {
            self.sweep(now);
        }
        let free = (OTHER + 1..SLOTS).find(|slot| self.names[*slot].is_none());
        let Some(slot) = free else { return OTHER };
        let name: Arc<str> = name.into();
        self.names[slot] = Some(Arc::clone(&name));
        self.slots.insert(name, slot);
        slot
    }

    /// Frees the slots of actions that the window has none of; at most once a second.
    fn sweep(&mut self, now: i64) {
        if self.swept_at == now {
            return;
        }
        self.swept_at = now;
        let totals = self.totals(now - RING as i64 + 1, now + 1);
        self.slots.retain(|_, slot| totals[*slot] > 0);
        for (name, total) in self.names.iter_mut().zip(totals) {
            if total == 0 {
                *name = None;
            }
        }
    }
}

fn place(second: i64) -> usize {
    usize::try_from(second.rem_euclid(RING as i64))
        .expect("a remainder is below the ring's length and not negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_700_000_000;

    fn at(seconds: i64) -> TimestampMicros {
        TimestampMicros((START + seconds) * MICROS)
    }

    fn shown(counts: &Counts, seconds: i64) -> Window {
        counts.window(at(seconds), 10)
    }

    fn sum(series: &[u64]) -> u64 {
        series.iter().sum()
    }

    #[test]
    fn each_event_counts_once_in_its_own_second() {
        let mut counts = Counts::new();
        counts.add(at(0), at(1), 10, Some("buy".into()));
        counts.add(at(0), at(1), 20, Some("search".into()));
        counts.add(at(1), at(1), 30, Some("search".into()));
        let window = shown(&counts, 3);
        assert_eq!(window.events[LIVE_WINDOW_SECONDS - 2..], [2, 1]);
        assert_eq!((sum(&window.events), sum(&window.bytes)), (3, 60));
        let actions: Vec<_> = window.actions.iter().map(|a| (a.action.as_deref(), a.total)).collect();
        assert_eq!(actions, [(Some("search"), 2), (Some("buy"), 1)]);
    }

    #[test]
    fn a_second_is_shown_only_once_it_has_settled() {
        let mut counts = Counts::new();
        counts.add(at(0), at(0), 1, None);
        let early = TimestampMicros(at(1).0 + SETTLE_MICROS - 1);
        assert_eq!(sum(&counts.window(early, 10).events), 0);
        assert_eq!(sum(&counts.window(TimestampMicros(early.0 + 1), 10).events), 1);
    }

    #[test]
    fn what_is_older_than_the_window_is_gone_though_its_bucket_was_not_used_again() {
        let mut counts = Counts::new();
        counts.add(at(0), at(0), 1, Some("buy".into()));
        assert_eq!(sum(&shown(&counts, 599).events), 1);
        let later = shown(&counts, 602);
        assert_eq!((sum(&later.events), later.actions.len()), (0, 0));
    }

    #[test]
    fn an_event_with_a_time_outside_the_window_counts_when_it_is_read() {
        let mut counts = Counts::new();
        for received in [at(-3600), at(3600), TimestampMicros(i64::MIN), TimestampMicros(i64::MAX)] {
            counts.add(received, at(0), 1, None);
        }
        let window = shown(&counts, 2);
        assert_eq!(window.events.last(), Some(&4));
    }

    #[test]
    fn actions_beyond_the_limit_and_beyond_those_asked_for_count_as_other() {
        let mut counts = Counts::new();
        for n in 0..LIVE_ACTIONS_MAX + 5 {
            counts.add(at(0), at(0), 1, Some(format!("a{n}")));
        }
        let window = counts.window(at(2), 3);
        assert_eq!((window.actions.len(), sum(&window.other)), (3, LIVE_ACTIONS_MAX as u64 + 5 - 3));
        let parts: u64 = window.actions.iter().map(|a| a.total).sum::<u64>() + sum(&window.other);
        assert_eq!(parts, sum(&window.events));
    }

    #[test]
    fn a_forgotten_action_makes_room_for_a_new_one() {
        let mut counts = Counts::new();
        for n in 0..LIVE_ACTIONS_MAX {
            counts.add(at(0), at(0), 1, Some(format!("old{n}")));
        }
        counts.add(at(700), at(700), 1, Some("new".into()));
        let window = shown(&counts, 702);
        assert_eq!(window.actions[0].action.as_deref(), Some("new"));
    }

    #[test]
    fn events_without_an_action_are_counted_without_a_name() {
        let mut counts = Counts::new();
        counts.add(at(0), at(0), 1, None);
        let window = shown(&counts, 2);
        assert_eq!((window.actions[0].action.as_deref(), window.actions[0].total), (None, 1));
    }
}
