//! Checksums of data files, and files that carry their own.
//!
//! Where a log of commits names the files (Delta), it holds their checksums too. Where the object
//! is the commit (plain Parquet), the file carries its own: its footer has a place for the digits,
//! which count as zeros while they are computed. So every byte of the file is covered.

use std::ops::Range;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Checksum of a data file, by XXH3 with 64 bits and no seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// Of all its bytes.
    Bytes(u64),
    /// Of all its bytes, with [`Seal::digits`] counting as zeros.
    Sealed(u64),
}

/// Key of the Parquet footer, and of a file's tags in a Delta log.
pub const CHECKSUM_KEY: &str = "laker.checksum";

const ALGORITHM: &str = "xxh3-64:";
const ZEROS: &str = "0000000000000000";
/// How Thrift's compact protocol writes a string as the second field of a struct: type, then length.
/// <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift> (`KeyValue`)
const VALUE_HEAD: [u8; 2] = [0x18, 24];
const _: () = assert!(ALGORITHM.len() + ZEROS.len() == VALUE_HEAD[1] as usize, "the length of the value");

impl Checksum {
    /// The checksum of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::Bytes(xxh3_64(bytes))
    }

    /// Its text in tags.
    #[must_use]
    pub fn text(self) -> String {
        let (Self::Bytes(digest) | Self::Sealed(digest)) = self;
        format!("{ALGORITHM}{digest:016x}")
    }

    /// The checksum of all bytes that `text` names; none when it is of another kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text.strip_prefix(ALGORITHM)?, 16).ok().map(Self::Bytes)
    }
}

/// The checksum that a file carries, and where its digits stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// What the rest of the file should add up to.
    pub checksum: Checksum,
    /// Place of the digits in the bytes given.
    pub digits: Range<usize>,
}

/// The pair to write into a footer, for [`seal`] to fill in.
#[must_use]
pub fn unsealed() -> (&'static str, String) {
    (CHECKSUM_KEY, format!("{ALGORITHM}{ZEROS}"))
}

/// Writes the checksum of a finished file with the pair [`unsealed`] into its place. Other files
/// stay as they are.
pub fn seal(file: &mut [u8]) {
    let Some(place) = digits(file) else { return };
    file[place.clone()].copy_from_slice(ZEROS.as_bytes());
    let digest = xxh3_64(file);
    file[place].copy_from_slice(format!("{digest:016x}").as_bytes());
}

/// The seal in the last bytes of a file, if it has one.
#[must_use]
pub fn find_seal(tail: &[u8]) -> Option<Seal> {
    let digits = digits(tail)?;
    let text = std::str::from_utf8(&tail[digits.clone()]).ok()?;
    let digest = u64::from_str_radix(text, 16).ok()?;
    Some(Seal { checksum: Checksum::Sealed(digest), digits })
}

fn digits(tail: &[u8]) -> Option<Range<usize>> {
    let head = [CHECKSUM_KEY.as_bytes(), &VALUE_HEAD, ALGORITHM.as_bytes()].concat();
    let last = tail.len().checked_sub(head.len() + ZEROS.len())?;
    let found = (footer_start(tail)..=last).rev().find(|at| tail[*at..].starts_with(&head))?;
    let start = found + head.len();
    Some(start..start + ZEROS.len())
}

/// Where the footer begins, by the length that a Parquet file ends with; the beginning of what is not one.
fn footer_start(tail: &[u8]) -> usize {
    let Some((_, end)) = tail.split_last_chunk::<8>() else { return 0 };
    let (length, magic) = (u32::from_le_bytes([end[0], end[1], end[2], end[3]]), &end[4..]);
    if magic == b"PAR1" { tail.len().saturating_sub(8 + length as usize) } else { 0 }
}

/// Adds up a file piece by piece.
#[derive(Default)]
pub struct Summing {
    state: Xxh3,
    position: u64,
    /// Where digits stand that count as zeros.
    zeros: Range<u64>,
}

impl Summing {
    /// A sum in which the bytes at `zeros` count as the digit zero.
    #[must_use]
    pub fn with_zeros_at(zeros: Range<u64>) -> Self {
        Self { zeros, ..Self::default() }
    }

    /// Adds the next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        let end = self.position + bytes.len() as u64;
        // Both differences are within `bytes`, whose length is a usize.
        let within = |at: u64| (at.clamp(self.position, end) - self.position) as usize;
        let (from, to) = (within(self.zeros.start), within(self.zeros.end));
        self.state.update(&bytes[..from]);
        self.state.update(&ZEROS.as_bytes()[..to - from]);
        self.state.update(&bytes[to..]);
        self.position = end;
    }

    /// The sum of all that was added.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.state.digest()
    }
}

impl std::fmt::Debug for Summing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Summing").field("position", &self.position).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let (key, value) = unsealed();
        let head = [b"PAR1 data".as_slice(), key.as_bytes(), &VALUE_HEAD];
        let mut file = [head.concat().as_slice(), value.as_bytes(), b"the end PAR1"].concat();
        seal(&mut file);
        file
    }

    fn holds(file: &[u8], pieces: usize) -> bool {
        let seal = find_seal(file).unwrap();
        let mut sum = Summing::with_zeros_at(seal.digits.start as u64..seal.digits.end as u64);
        file.chunks(pieces).for_each(|piece| sum.add(piece));
        seal.checksum == Checksum::Sealed(sum.digest())
    }

    #[test]
    fn a_sealed_file_adds_up_however_it_is_cut() {
        for pieces in [1, 7, 16, 1000] {
            assert!(holds(&file(), pieces), "pieces of {pieces}");
        }
    }

    #[test]
    fn any_other_byte_breaks_the_seal() {
        let file = file();
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            let found = find_seal(&changed).is_some();
            assert!(!found || !holds(&changed, 64), "byte {at}");
        }
    }

    #[test]
    fn a_file_without_the_place_stays_as_it_is() {
        let mut plain = b"PAR1 without".to_vec();
        seal(&mut plain);
        assert_eq!((plain.as_slice(), find_seal(&plain)), (b"PAR1 without".as_slice(), None));
    }

    #[test]
    fn a_checksum_reads_back_from_its_text() {
        let checksum = Checksum::of(b"bytes");
        assert_eq!(Checksum::parse(&checksum.text()), Some(checksum));
        assert_eq!(Checksum::parse("md5:00"), None);
    }
}
