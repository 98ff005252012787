//! Entries of the embedded log.

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::borrowed::embedded::stored_batch::{StoredBatch, encode};
use crate::borrowed::embedded::stored_topic::{TopicRecord, decode_folder, encode_folder};

const TOPIC: &str = "logs";
const KEY_BYTES: usize = 12;

/// A key and a value, read as they are and with a checksum that fits: what is read is what is written
/// again, byte for byte.
pub fn batch(bytes: &[u8]) {
    let (key, contents) = bytes.split_at(bytes.len().min(KEY_BYTES));
    let _ = StoredBatch::decode(TOPIC, key, contents);
    let mut value = contents.to_vec();
    value.extend_from_slice(&checksum(key, contents).to_le_bytes());
    let Ok(batch) = StoredBatch::decode(TOPIC, key, &value) else { return };
    let events: Vec<_> = batch.events().collect();
    assert_eq!(batch.range().offset_count(), events.len() as u64);
    assert!(events.iter().all(|(offset, _)| batch.range().contains(*offset)));
    let payloads: Vec<Bytes> = events.iter().map(|(_, payload)| Bytes::copy_from_slice(payload)).collect();
    assert_eq!(encode(TOPIC, batch.key, batch.header, &payloads), value);
    assert_eq!(batch.key.to_bytes(), key);
}

/// As `stored_batch.rs` documents it.
fn checksum(key: &[u8], contents: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(TOPIC.as_bytes());
    hasher.update(key);
    hasher.update(contents);
    hasher.digest()
}

/// A record of a topic or of the folder: what is read is what is written again, byte for byte.
pub fn topic(bytes: &[u8]) {
    if let Ok(record) = TopicRecord::decode(bytes) {
        assert_eq!(record.encode(), bytes);
    }
    if let Ok(id) = decode_folder(bytes) {
        assert_eq!(encode_folder(&id), bytes);
    }
}
