//! Events whose contents say which they are, and what else is thrown at a log.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::chance::Chance;

/// Who sent an event, and which of its events it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    /// The sender.
    pub producer: String,
    /// Counts its events.
    pub sequence: u64,
}

/// Makes one sender's events.
#[derive(Debug)]
pub struct Producer {
    name: String,
    sequence: u64,
}

/// What is no event, each by another fault.
const POISON: [&[u8]; 9] = [
    b"",
    b"not json",
    b"{\"producer\":\"x\",\"sequence\":",
    b"[1,2,3]",
    b"\"text\"",
    b"42",
    b"{\"producer\":\"x\"}}",
    b"{\"producer\":\"\xff\xfe\"}",
    b"null",
];

impl Producer {
    /// A sender of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), sequence: 0 }
    }

    /// Its next event. New fields come as its count grows, some with more than one type.
    pub fn event(&mut self, chance: &mut Chance) -> (EventKey, Bytes) {
        self.sequence += 1;
        let key = EventKey { producer: self.name.clone(), sequence: self.sequence };
        let mut event = Map::new();
        event.insert("producer".to_owned(), json!(key.producer));
        event.insert("sequence".to_owned(), json!(key.sequence));
        event.insert("checksum".to_owned(), json!(checksum(&key)));
        if chance.is_lucky(200) {
            let day = chance.within(20..28);
            event.insert("timestamp".to_owned(), json!(format!("2025-11-{day}T12:00:00Z")));
        }
        let field_count = 1 + self.sequence / 10;
        for _ in 0..chance.below(3) {
            let field = chance.below(field_count.min(12));
            event.insert(format!("field_{field}"), value(field, chance));
        }
        (key, Bytes::from(Value::Object(event).to_string()))
    }
}

fn value(field: u64, chance: &mut Chance) -> Value {
    let number = chance.below(1_000);
    match field % 5 {
        0 => json!(number),
        1 => json!(format!("text {number}")),
        2 if chance.is_lucky(300) => json!(format!("text {number}")),
        2 => json!(number),
        3 => json!(number.is_multiple_of(2)),
        _ if chance.is_lucky(500) => json!(number as f64 + 0.5),
        _ => json!({ "inner": number }),
    }
}

/// What `checksum` says in the event of this key.
#[must_use]
pub fn checksum(key: &EventKey) -> String {
    // FNV-1a (Fowler, Noll, Vo).
    let bytes = key.producer.bytes().chain(key.sequence.to_le_bytes());
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{sum:016x}")
}

/// The bytes of something that is no event.
pub fn poison(chance: &mut Chance) -> Bytes {
    let poison: &&'static [u8] = chance.one_of(&POISON);
    Bytes::from_static(poison)
}

/// What is to become of a record, by rules of the simulator's own.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// A row with these contents.
    Row(Map<String, Value>),
    /// A dead letter.
    DeadLetter,
    /// Nothing: a tombstone.
    Skipped,
}

/// What is to become of a record with this payload.
#[must_use]
pub fn fate(payload: Option<&[u8]>) -> Fate {
    let Some(payload) = payload else { return Fate::Skipped };
    match serde_json::from_slice::<Value>(payload) {
        Ok(Value::Object(event)) => Fate::Row(event),
        _ => Fate::DeadLetter,
    }
}

/// Which event this is, if it is one of ours and whole.
#[must_use]
pub fn key_of(event: &Map<String, Value>) -> Option<EventKey> {
    let producer = event.get("producer")?.as_str()?.to_owned();
    let key = EventKey { producer, sequence: event.get("sequence")?.as_u64()? };
    (event.get("checksum")?.as_str()? == checksum(&key)).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_which_it_is_and_poison_is_no_event() {
        let mut chance = Chance::new(3);
        let mut producer = Producer::new("p");
        for _ in 0..100 {
            let (key, bytes) = producer.event(&mut chance);
            let Fate::Row(event) = fate(Some(&bytes)) else { panic!("{bytes:?} is an event") };
            assert_eq!(key_of(&event), Some(key));
        }
        for bytes in POISON {
            assert_eq!(fate(Some(bytes)), Fate::DeadLetter, "{bytes:?}");
        }
        assert_eq!(fate(None), Fate::Skipped);
    }
}
