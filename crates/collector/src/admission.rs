//! The budget of bytes that all requests share, so that many large bodies at once end in 503, not in
//! a killed process.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::refusal::Refusal;
use crate::telemetry;

/// The budget. One permit is one byte.
#[derive(Debug)]
pub(crate) struct Admission {
    bytes: Arc<Semaphore>,
}

impl Admission {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: Arc::new(Semaphore::new(bytes_max)) }
    }

    /// A request that holds nothing yet.
    pub(crate) fn enter(&self) -> Held {
        Held { budget: Arc::clone(&self.bytes), permit: None }
    }
}

/// What one request holds of the budget; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// Takes `bytes` more, or refuses at once: requests that waited for each other's bytes while
    /// holding some would wait for ever.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let count = u32::try_from(bytes).map_err(|_| Refusal::Overloaded)?;
        let more = Arc::clone(&self.budget).try_acquire_many_owned(count).map_err(|_| Refusal::Overloaded)?;
        telemetry::in_flight_grew(bytes);
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        telemetry::in_flight_shrank(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_over_the_budget_are_refused_and_come_back_when_a_request_ends() {
        let admission = Admission::new(10);
        let mut first = admission.enter();
        first.grow(4).unwrap();
        first.grow(4).unwrap();
        let mut second = admission.enter();
        assert!(matches!(second.grow(3), Err(Refusal::Overloaded)));
        drop(first);
        second.grow(10).unwrap();
    }
}
