//! Compressed bytes become plain bytes, never more than allowed.

use std::io::{self, Read};

use bytes::Bytes;
use event::limits;
use flate2::read::MultiGzDecoder;

use crate::admission::Held;
use crate::media::Encoding;
use crate::refusal::Refusal;

const STEP_BYTES: usize = 64 * 1024;

/// The plain body. A bomb is met while it inflates: no more than `bytes_max` plus one step is ever held.
pub(crate) fn unpack(
    body: Bytes,
    encoding: Encoding,
    bytes_max: usize,
    held: &mut Held,
) -> Result<Bytes, Refusal> {
    match encoding {
        Encoding::Identity => Ok(body),
        Encoding::Gzip => inflate(MultiGzDecoder::new(&body[..]), "gzip", bytes_max, held),
        Encoding::Zstd => {
            let decoder = zstd_decoder(&body).map_err(|error| invalid("zstd", &error))?;
            inflate(decoder, "zstd", bytes_max, held)
        }
    }
}

fn zstd_decoder(body: &[u8]) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
    decoder.window_log_max(limits::ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

fn inflate(
    mut decoder: impl Read,
    name: &'static str,
    bytes_max: usize,
    held: &mut Held,
) -> Result<Bytes, Refusal> {
    let mut plain = Vec::new();
    let mut step = vec![0; STEP_BYTES];
    loop {
        let count = match decoder.read(&mut step) {
            Ok(0) => return Ok(plain.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(invalid(name, &error)),
        };
        if plain.len() + count > bytes_max {
            return Err(Refusal::TooLarge { bytes_max, when: " when decompressed" });
        }
        held.grow(count)?;
        plain.extend_from_slice(&step[..count]);
    }
}

fn invalid(encoding: &'static str, error: &io::Error) -> Refusal {
    Refusal::InvalidEncoding { encoding, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::admission::Admission;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn a_bomb_never_holds_more_than_the_limit() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&vec![b' '; 64 * MIB]).unwrap();
        let zstd = zstd::encode_all(&vec![b' '; 64 * MIB][..], 1).unwrap();
        for (encoding, body) in [(Encoding::Gzip, gzip.finish().unwrap()), (Encoding::Zstd, zstd)] {
            // A budget of just the limit: one byte more held at any moment would be `Overloaded`.
            let mut held = Admission::new(MIB).enter();
            let refusal = unpack(body.into(), encoding, MIB, &mut held).unwrap_err();
            assert!(matches!(refusal, Refusal::TooLarge { .. }), "{encoding:?}: {refusal}");
        }
    }

    #[test]
    fn a_body_that_fills_the_limit_is_taken() {
        let body = zstd::encode_all(&vec![b' '; MIB][..], 1).unwrap();
        let mut held = Admission::new(MIB).enter();
        assert_eq!(unpack(body.into(), Encoding::Zstd, MIB, &mut held).map(|plain| plain.len()), Ok(MIB));
    }
}
