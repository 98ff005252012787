//! Stage 2: bytes become columns.

use std::sync::Arc;

use ::decode::{DecodeOptions, Decoded, Decoder};
use arrow_schema::SchemaRef;
use event::{OffsetRange, PartitionId, Records};
use eventlog::Fetched;

use crate::LoadError;

/// One fetch in columns.
#[derive(Debug)]
pub(crate) struct DecodedFetch {
    pub(crate) partition: PartitionId,
    pub(crate) range: OffsetRange,
    pub(crate) event_bytes: u64,
    pub(crate) record_count: u64,
    pub(crate) decoded: Decoded,
    /// The bytes, kept while a column may still be made of them.
    pub(crate) undecided: Option<Records>,
}

/// Decodes fetch after fetch with one schema.
#[derive(Debug)]
pub(crate) struct DecodeStage {
    options: Arc<DecodeOptions>,
    decoder: Decoder,
}

impl DecodeStage {
    pub(crate) fn new(
        options: Arc<DecodeOptions>,
        schema: &SchemaRef,
    ) -> Result<Self, ::decode::DecodeError> {
        let decoder = Decoder::new(Arc::clone(&options), Arc::clone(schema))?;
        Ok(Self { options, decoder })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.decoder.schema()
    }

    pub(crate) fn options(&self) -> &Arc<DecodeOptions> {
        &self.options
    }

    pub(crate) fn decode(&mut self, fetched: Fetched) -> DecodedFetch {
        let Fetched { partition, range, records } = fetched;
        let decoded = self.decoder.decode(partition, &records);
        DecodedFetch {
            partition,
            range,
            event_bytes: records.payload_bytes() as u64,
            record_count: records.len() as u64,
            undecided: (!decoded.discovered.is_empty()).then_some(records),
            decoded,
        }
    }

    /// Decodes again what met fields without a column, now that they may have one.
    pub(crate) fn decode_again(&mut self, fetch: &mut DecodedFetch) {
        if let Some(records) = fetch.undecided.take() {
            fetch.decoded = self.decoder.decode(fetch.partition, &records);
        }
    }
}

/// Turns a refusal of the decoder into a loader's error.
pub(crate) fn schema_error(stream: &event::StreamName, error: &::decode::DecodeError) -> LoadError {
    LoadError::Schema { stream: stream.to_string(), reason: error.to_string() }
}
