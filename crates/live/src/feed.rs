//! The newest events, and how readers follow them.
//!
//! One queue for all readers, bounded in events and bytes. Every event of the stream has a sequence
//! number, also those that were never queued, so a reader that finds a hole knows how many events
//! it missed, whatever the reason.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use event::limits::{LIVE_QUEUE_BYTES_MAX, LIVE_QUEUE_MAX};
use tokio::sync::watch;

use crate::stream::lock;

/// Number of an event since this process follows the stream.
pub(crate) type Sequence = u64;

/// The queue of one stream. One task pushes; any number of readers take.
#[derive(Debug)]
pub(crate) struct Feed {
    queue: Mutex<Queue>,
    next: watch::Sender<Sequence>,
}

#[derive(Debug, Default)]
struct Queue {
    shown: VecDeque<Shown>,
    bytes: usize,
    next: Sequence,
}

/// One event as readers get it.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// Its number.
    pub(crate) sequence: Sequence,
    /// Its JSON.
    pub(crate) json: Bytes,
}

/// What a reader found at its position.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Events before and between `shown` that it cannot have any more.
    pub(crate) missed: u64,
    /// Events in order.
    pub(crate) shown: Vec<Shown>,
}

/// A reader's place in the queue.
#[derive(Debug)]
pub(crate) struct Reader {
    position: Sequence,
    next: watch::Receiver<Sequence>,
}

impl Feed {
    /// An empty queue.
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::default(), next: watch::Sender::new(0) }
    }

    /// Whether anybody reads. When nobody does, only the newest events need to be pushed.
    pub(crate) fn has_readers(&self) -> bool {
        self.next.receiver_count() > 0
    }

    /// Adds the newest of `total` events that were read together, in order.
    pub(crate) fn push(&self, newest: Vec<Bytes>, total: u64) {
        let mut queue = lock(&self.queue);
        let end = queue.next + total;
        let first = end - newest.len() as u64;
        for (sequence, json) in (first..end).zip(newest) {
            queue.push(Shown { sequence, json });
        }
        queue.next = end;
        drop(queue);
        self.next.send_replace(end);
    }

    /// A reader that begins with the `last` newest events.
    pub(crate) fn reader(&self, last: usize) -> Reader {
        let next = self.next.subscribe();
        let queue = lock(&self.queue);
        let first = queue.shown.len().saturating_sub(last);
        let position = queue.shown.get(first).map_or(queue.next, |shown| shown.sequence);
        Reader { position, next }
    }

    /// A reader that goes on after `sequence`, which it has seen.
    pub(crate) fn reader_after(&self, sequence: Sequence) -> Reader {
        let next = self.next.subscribe();
        Reader { position: (sequence + 1).min(lock(&self.queue).next), next }
    }

    /// Up to `count_max` of the oldest events the reader has not had.
    pub(crate) fn take(&self, reader: &mut Reader, count_max: usize) -> Taken {
        let queue = lock(&self.queue);
        let first = queue.shown.partition_point(|shown| shown.sequence < reader.position);
        let shown: Vec<Shown> = queue.shown.iter().skip(first).take(count_max).cloned().collect();
        let reached_end = first + shown.len() == queue.shown.len();
        let position = match shown.last() {
            Some(last) if !reached_end => last.sequence + 1,
            _ => queue.next,
        };
        let missed = position - reader.position - shown.len() as u64;
        reader.position = position;
        Taken { missed, shown }
    }

    /// The `count_max` newest events the reader has not had; the others count as missed.
    pub(crate) fn take_newest(&self, reader: &mut Reader, count_max: usize) -> Taken {
        let queue = lock(&self.queue);
        let unread = queue.shown.partition_point(|shown| shown.sequence < reader.position);
        let first = unread.max(queue.shown.len().saturating_sub(count_max));
        let shown: Vec<Shown> = queue.shown.iter().skip(first).cloned().collect();
        let missed = queue.next - reader.position - shown.len() as u64;
        reader.position = queue.next;
        Taken { missed, shown }
    }
}

impl Queue {
    fn push(&mut self, shown: Shown) {
        self.bytes += shown.json.len();
        self.shown.push_back(shown);
        while self.shown.len() > LIVE_QUEUE_MAX || self.bytes > LIVE_QUEUE_BYTES_MAX {
            let Some(oldest) = self.shown.pop_front() else { return };
            self.bytes -= oldest.json.len();
        }
    }
}

impl Reader {
    /// Completes when there is something to take, now or later.
    pub(crate) async fn ready(&mut self) {
        let position = self.position;
        // The sender lives as long as the feed, which whoever holds a reader holds too.
        let _ = self.next.wait_for(|next| *next > position).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(texts: &[&str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect()
    }

    fn texts(taken: &Taken) -> Vec<&str> {
        taken.shown.iter().map(|shown| std::str::from_utf8(&shown.json).unwrap()).collect()
    }

    #[test]
    fn a_reader_gets_every_event_once_and_in_order() {
        let feed = Feed::new();
        let mut reader = feed.reader(10);
        feed.push(json(&["a", "b"]), 2);
        feed.push(json(&["c"]), 1);
        let (first, second) = (feed.take(&mut reader, 2), feed.take(&mut reader, 2));
        assert_eq!((texts(&first), texts(&second)), (vec!["a", "b"], vec!["c"]));
        assert_eq!(first.missed + second.missed, 0);
        assert!(feed.take(&mut reader, 2).shown.is_empty());
    }

    #[test]
    fn a_new_reader_begins_with_as_many_as_it_asks_for() {
        let feed = Feed::new();
        feed.push(json(&["a", "b", "c"]), 3);
        assert_eq!(texts(&feed.take(&mut feed.reader(2), 9)), ["b", "c"]);
        assert_eq!(texts(&feed.take(&mut feed.reader(9), 9)), ["a", "b", "c"]);
        assert!(feed.take(&mut feed.reader(0), 9).shown.is_empty());
    }

    #[test]
    fn a_slow_reader_is_told_exactly_how_many_it_missed() {
        let feed = Feed::new();
        let mut reader = feed.reader(0);
        for n in 0..LIVE_QUEUE_MAX + 7 {
            feed.push(json(&[&n.to_string()]), 1);
        }
        let taken = feed.take(&mut reader, 1);
        assert_eq!((taken.missed, texts(&taken)), (7, vec!["7"]));
    }

    #[test]
    fn events_that_were_counted_but_never_queued_are_missed_too() {
        let feed = Feed::new();
        let mut reader = feed.reader(0);
        feed.push(json(&["a"]), 1);
        feed.push(json(&["y", "z"]), 100);
        feed.push(Vec::new(), 5);
        let taken = feed.take(&mut reader, 9);
        assert_eq!((taken.missed, texts(&taken)), (98 + 5, vec!["a", "y", "z"]));
    }

    #[test]
    fn taking_the_newest_counts_the_rest_as_missed() {
        let feed = Feed::new();
        let mut reader = feed.reader(0);
        feed.push(json(&["a", "b", "c"]), 3);
        let taken = feed.take_newest(&mut reader, 1);
        assert_eq!((taken.missed, texts(&taken)), (2, vec!["c"]));
        assert!(feed.take_newest(&mut reader, 1).shown.is_empty());
    }

    #[test]
    fn the_queue_keeps_within_its_bytes() {
        let feed = Feed::new();
        let large = Bytes::from(vec![b'x'; LIVE_QUEUE_BYTES_MAX / 4]);
        feed.push(vec![large; 9], 9);
        assert_eq!(feed.take(&mut feed.reader(100), 100).shown.len(), 4);
    }

    #[test]
    fn a_reader_that_comes_back_goes_on_where_it_was() {
        let feed = Feed::new();
        feed.push(json(&["a", "b", "c"]), 3);
        assert_eq!(texts(&feed.take(&mut feed.reader_after(0), 9)), ["b", "c"]);
        assert!(feed.take(&mut feed.reader_after(99), 9).shown.is_empty());
    }
}
