//! What the plain-Parquet table reads of a file and of a schema object.

use bytes::Bytes;
use parquet::file::metadata::ParquetMetaDataReader;
use table::FileFooter;
use table::checksum::{Checksum, Summing, find_seal, seal};

use crate::borrowed::parquet_table::{decode_schema, encode_schema};

/// The end of a file, and `key=value` lines as its pairs: a footer of ours, or why not. A seal that is
/// written is found, and is the sum of the rest, however it is added up.
pub fn footer(bytes: &[u8]) {
    seal_is_found(bytes);
    let mut reader = ParquetMetaDataReader::new();
    let whole = Bytes::copy_from_slice(bytes);
    if reader.try_parse_sized(&whole, bytes.len() as u64).is_ok()
        && let Ok(metadata) = reader.finish()
    {
        let pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
        is_read_back(pairs.map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap_or_default())));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        is_read_back(text.lines().filter_map(|line| line.split_once('=')));
    }
}

fn seal_is_found(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    seal(&mut sealed);
    let Some(found) = find_seal(&sealed) else {
        return assert_eq!(sealed, bytes, "a file without a seal stays");
    };
    let mut sum = Summing::with_zeros_at(found.digits.start as u64..found.digits.end as u64);
    let (one, other) = sealed.split_at(sealed.len() / 2);
    sum.add(one);
    sum.add(other);
    assert_eq!(Checksum::Sealed(sum.digest()), found.checksum);
}

fn is_read_back<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    let Ok(footer) = FileFooter::parse(pairs) else { return };
    let written = footer.pairs();
    assert_eq!(FileFooter::parse(written.iter().map(|(key, value)| (*key, value.as_str()))), Ok(footer));
}

/// A schema object: what is read is written again, and read as the same.
pub fn schema_object(bytes: &[u8]) {
    let Ok(schema) = decode_schema(bytes) else { return };
    let written = encode_schema(&schema).expect("a schema that was read has types that tables have");
    assert_eq!(decode_schema(&written).as_ref(), Ok(&schema));
}
