//! Cuts off what a power failure left half written at the end of fjall's journal.
//!
//! A group that was being written when the power failed was never acknowledged, and its pages may have
//! reached the disk in any order, with zeros between. fjall discards such a tail when it cannot be
//! parsed, but refuses to open when all of it parses and only the checksum fails, as when a page inside
//! a payload is missing. Then the tail is cut here, unless a whole batch follows it: that one was
//! written later, so what is broken had been synced, and losing it is damage a person must see.
//!
//! The journal's format is fjall 3's (`journal/entry.rs` there): batches of a start, items and an end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

const LOCK_FILE: &str = "lock";
const JOURNAL_EXTENSION: &str = "jnl";
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8] = b"FJL\x03";
const UNCOMPRESSED: u8 = 0;

/// Cuts a torn tail off the newest journal in `folder`. How many bytes it cut; `None` when there is
/// no such tail, or what is broken is not the tail.
///
/// # Errors
/// What the disk says, or that another process has the folder open.
pub fn cut_torn_tail(folder: &Path) -> io::Result<Option<usize>> {
    let lock = File::options().write(true).open(folder.join(LOCK_FILE))?;
    lock.try_lock()?;
    let Some(path) = newest_journal(folder)? else { return Ok(None) };
    let journal = fs::read(&path)?;
    let Some(tail) = torn_tail(&journal) else { return Ok(None) };
    let file = File::options().write(true).open(&path)?;
    file.set_len(tail as u64)?;
    file.sync_all()?;
    Ok(Some(journal.len() - tail))
}

fn newest_journal(folder: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != JOURNAL_EXTENSION) {
            continue;
        }
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number
            && newest.as_ref().is_none_or(|(newest, _)| *newest < number)
        {
            newest = Some((number, path));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// Where a torn tail begins.
fn torn_tail(journal: &[u8]) -> Option<usize> {
    let mut position = 0;
    loop {
        match Batch::parse(&journal[position..])? {
            Batch { bytes, is_whole: true } => position += bytes,
            Batch { bytes, is_whole: false } => {
                let follows = Batch::parse(&journal[position + bytes..]);
                return follows.is_none_or(|batch| !batch.is_whole).then_some(position);
            }
        }
    }
}

/// A stretch of the journal that parses as a batch.
struct Batch {
    bytes: usize,
    is_whole: bool,
}

impl Batch {
    /// The batch at the beginning of `journal`, if it parses at all.
    fn parse(journal: &[u8]) -> Option<Self> {
        let mut cursor = Cursor { rest: journal };
        if cursor.byte()? != START {
            return None;
        }
        let announced = u32::from_le_bytes(cursor.array()?);
        let _sequence_number: [u8; 8] = cursor.array()?;
        let items = cursor.rest;
        let mut count = 0;
        loop {
            let items_bytes = items.len() - cursor.rest.len();
            match cursor.byte()? {
                ITEM => cursor.skip_item()?,
                CLEAR => cursor.skip(8)?,
                END => {
                    let stored = u64::from_le_bytes(cursor.array()?);
                    if cursor.take(TRAILER.len())? != TRAILER {
                        return None;
                    }
                    let is_whole = count == announced && checksum(&items[..items_bytes]) == stored;
                    return Some(Self { bytes: journal.len() - cursor.rest.len(), is_whole });
                }
                _ => return None,
            }
            count += 1;
        }
    }
}

fn checksum(items: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(items);
    hasher.digest()
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.take(bytes).map(drop)
    }

    fn skip_item(&mut self) -> Option<()> {
        let _value_type = self.byte()?;
        if self.byte()? != UNCOMPRESSED {
            return None;
        }
        let _keyspace: [u8; 8] = self.array()?;
        let key = u16::from_le_bytes(self.array()?);
        let _value: [u8; 4] = self.array()?;
        let stored = u32::from_le_bytes(self.array()?);
        self.skip(usize::from(key))?;
        self.skip(usize::try_from(stored).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch(value: &[u8]) -> Vec<u8> {
        let mut items = vec![ITEM, 0, UNCOMPRESSED];
        items.extend(7_u64.to_le_bytes());
        items.extend(3_u16.to_le_bytes());
        items.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        items.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        items.extend(b"key");
        items.extend(value);
        let mut bytes = vec![START];
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(9_u64.to_le_bytes());
        bytes.extend(&items);
        bytes.push(END);
        bytes.extend(checksum(&items).to_le_bytes());
        bytes.extend(TRAILER);
        bytes
    }

    fn torn(value: &[u8]) -> Vec<u8> {
        let mut bytes = batch(value);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    }

    #[test]
    fn a_whole_journal_has_no_torn_tail() {
        assert_eq!(torn_tail(&[]), None);
        assert_eq!(torn_tail(&[batch(&[1; 100]), batch(&[2; 9]), vec![0; 500]].concat()), None);
    }

    #[test]
    fn a_broken_last_batch_is_a_torn_tail() {
        let whole = batch(&[1; 100]);
        assert_eq!(torn_tail(&[whole.clone(), torn(&[2; 100])].concat()), Some(whole.len()));
        assert_eq!(torn_tail(&[whole.clone(), torn(&[2; 100]), vec![0; 500]].concat()), Some(whole.len()));
    }

    #[test]
    fn a_broken_batch_before_a_whole_one_is_damage_and_kept() {
        assert_eq!(torn_tail(&[torn(&[1; 100]), batch(&[2; 100])].concat()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_a_panic(journal: Vec<u8>) {
            let _ = torn_tail(&journal);
        }
    }
}
