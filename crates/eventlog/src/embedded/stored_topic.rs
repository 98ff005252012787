//! How the folder's identity and a topic lie on disk: two small records.
//!
//! ```text
//! key "folder"        value  version u8 = 1 | id as text
//! key "topic/" name   value  version u8 = 1 | number u32 LE | count u32 LE | count x first offset u64 LE
//! ```
//! A topic's number names its segments; the first offsets, one per partition, are what retention has
//! left, so that offsets go on even when every batch is gone.

use event::Offset;

const VERSION: u8 = 1;

/// Key of the folder's identity.
pub const FOLDER_KEY: &[u8] = b"folder";
/// What the keys of topics begin with.
pub const TOPIC_PREFIX: &str = "topic/";

/// A topic as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRecord {
    /// Its number, unique in the folder.
    pub number: u32,
    /// First retained offset of each partition.
    pub firsts: Vec<Offset>,
}

/// Why stored bytes are not a record of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by another version.
    #[error("version {0} of the folder's format is unknown; this program reads version {VERSION}")]
    Version(u8),
    /// Shorter or longer than it says.
    #[error("a record of the folder or of a topic has a wrong length")]
    Length,
}

impl TopicRecord {
    /// The value as it is stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.firsts.len()).expect("partitions are numbered with 32 bits");
        let mut value = vec![VERSION];
        value.extend_from_slice(&self.number.to_le_bytes());
        value.extend_from_slice(&count.to_le_bytes());
        value.extend(self.firsts.iter().flat_map(|first| first.0.to_le_bytes()));
        value
    }

    /// Reads a stored value.
    ///
    /// # Errors
    /// [`RecordError`] when it is not what [`TopicRecord::encode`] wrote.
    pub fn decode(value: &[u8]) -> Result<Self, RecordError> {
        let rest = check_version(value)?;
        let (number, rest) = rest.split_first_chunk().ok_or(RecordError::Length)?;
        let (count, rest) = rest.split_first_chunk().ok_or(RecordError::Length)?;
        let (firsts, over) = rest.as_chunks();
        if !over.is_empty() || firsts.len() as u64 != u64::from(u32::from_le_bytes(*count)) {
            return Err(RecordError::Length);
        }
        let firsts = firsts.iter().map(|first| Offset(u64::from_le_bytes(*first))).collect();
        Ok(Self { number: u32::from_le_bytes(*number), firsts })
    }
}

/// The folder's identity as it is stored.
#[must_use]
pub fn encode_folder(id: &str) -> Vec<u8> {
    let mut value = vec![VERSION];
    value.extend_from_slice(id.as_bytes());
    value
}

/// Reads the folder's identity.
///
/// # Errors
/// [`RecordError`] when it is not what [`encode_folder`] wrote.
pub fn decode_folder(value: &[u8]) -> Result<String, RecordError> {
    let id = check_version(value)?;
    String::from_utf8(id.to_vec()).map_err(|_| RecordError::Length)
}

fn check_version(value: &[u8]) -> Result<&[u8], RecordError> {
    match value.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((other, _)) => Err(RecordError::Version(*other)),
        None => Err(RecordError::Length),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_stored_bytes_never_change() {
        let topic = TopicRecord { number: 3, firsts: vec![Offset(0), Offset(0x0102)] };
        let golden = [1, 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(topic.encode(), golden);
        assert_eq!(encode_folder("ab"), [1, b'a', b'b']);
    }

    #[test]
    fn a_newer_version_is_named() {
        assert_eq!(TopicRecord::decode(&[2, 0]), Err(RecordError::Version(2)));
        assert_eq!(decode_folder(&[9]), Err(RecordError::Version(9)));
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(number: u32, firsts: Vec<u64>, id: String) {
            let topic = TopicRecord { number, firsts: firsts.into_iter().map(Offset).collect() };
            prop_assert_eq!(TopicRecord::decode(&topic.encode()), Ok(topic));
            prop_assert_eq!(decode_folder(&encode_folder(&id)), Ok(id));
        }

        #[test]
        fn any_bytes_are_refused_or_read_but_never_a_panic(value: Vec<u8>) {
            let _ = TopicRecord::decode(&value);
        }
    }
}
