//! The Arrow IPC stream.

use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::Writer;

pub(super) struct IpcWriter {
    schema: SchemaRef,
    writer: Option<StreamWriter<Vec<u8>>>,
}

impl IpcWriter {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: schema.clone(), writer: None }
    }

    /// The writer, which begins by writing the schema.
    fn writer(&mut self) -> Result<&mut StreamWriter<Vec<u8>>, ArrowError> {
        if self.writer.is_none() {
            self.writer = Some(StreamWriter::try_new(Vec::new(), &self.schema)?);
        }
        Ok(self.writer.as_mut().expect("it was made just now"))
    }
}

impl Writer for IpcWriter {
    fn start(&mut self) -> Result<Vec<u8>, ArrowError> {
        Ok(std::mem::take(self.writer()?.get_mut()))
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let writer = self.writer()?;
        writer.write(batch)?;
        Ok(std::mem::take(writer.get_mut()))
    }

    fn end(&mut self) -> Result<Vec<u8>, ArrowError> {
        let writer = self.writer()?;
        writer.finish()?;
        Ok(std::mem::take(writer.get_mut()))
    }
}
