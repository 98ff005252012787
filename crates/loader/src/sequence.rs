//! Stage 6: uploads run side by side, commits follow in the order of the batches.
//!
//! Each batch takes its place in line before its upload begins.

use std::sync::Arc;

use event::clock::{Task, TaskLost};
use event::{Clock, Positions, limits};
use futures::stream::{FuturesOrdered, StreamExt};
use table::{Table, TableState};
use tokio::sync::mpsc;

use crate::LoadError;
use crate::commit::{Committed, Committer, Fenced};
use crate::encode::EncodedBatch;
use crate::upload::{StoredBatch, upload};

/// What the worker asks of the table.
#[derive(Debug)]
pub enum Request {
    /// Land this batch.
    Land(Box<EncodedBatch>),
    /// Where do these partitions go on? Answered after everything asked before.
    Positions(Vec<event::PartitionId>),
    /// How far is the table, whoever moved it? Answered after everything asked before.
    Refresh,
}

/// What the table answered. One for each request, in order.
#[derive(Debug)]
pub enum Answer {
    /// The batch is in.
    Landed(Committed),
    /// The batch is not in, and will not be.
    Fenced(Fenced),
    /// These partitions go on at these positions.
    Positions(TableState, Positions),
    /// The table as it is.
    Refreshed(TableState),
    /// The loader cannot go on.
    Failed(LoadError),
}

/// What the stages behind the worker need.
#[derive(Debug)]
pub struct Sequencer {
    pub(crate) committer: Committer,
    pub(crate) table: Arc<dyn Table>,
    pub(crate) clock: Clock,
}

impl Sequencer {
    /// Serves requests until the worker hangs up. Needs no particular executor: what runs beside
    /// it does so by [`Clock::spawn`].
    pub async fn serve(self, mut requests: mpsc::Receiver<Request>, answer: impl Fn(Answer)) {
        let Self { mut committer, table, clock } = self;
        let mut line: FuturesOrdered<Task<Result<StoredBatch, LoadError>>> = FuturesOrdered::new();
        loop {
            tokio::select! {
                biased;
                Some(uploaded) = line.next() => answer(land(&mut committer, uploaded).await),
                request = requests.recv(), if line.len() < limits::BATCHES_IN_FLIGHT_MAX => match request {
                    None => break,
                    Some(Request::Land(batch)) => {
                        let uploading = upload(*batch, Arc::clone(&table), committer.patience());
                        line.push_back(clock.spawn(uploading));
                    }
                    Some(other) => {
                        while let Some(uploaded) = line.next().await {
                            answer(land(&mut committer, uploaded).await);
                        }
                        answer(look(&committer, other).await);
                    }
                },
            }
        }
        while let Some(uploaded) = line.next().await {
            answer(land(&mut committer, uploaded).await);
        }
    }
}

async fn land(
    committer: &mut Committer,
    uploaded: Result<Result<StoredBatch, LoadError>, TaskLost>,
) -> Answer {
    let landed = match uploaded {
        Ok(Ok(batch)) => committer.commit(batch).await,
        Ok(Err(error)) => Err(error),
        Err(TaskLost) => Err(committer.stage_lost("upload")),
    };
    match landed {
        Ok(Ok(committed)) => Answer::Landed(committed),
        Ok(Err(fenced)) => Answer::Fenced(fenced),
        Err(error) => Answer::Failed(error),
    }
}

async fn look(committer: &Committer, request: Request) -> Answer {
    let answer = match request {
        Request::Positions(partitions) => {
            committer.positions(&partitions).await.map(|(state, at)| Answer::Positions(state, at))
        }
        Request::Refresh => committer.state().await.map(Answer::Refreshed),
        Request::Land(_) => unreachable!("batches are put in line by the caller"),
    };
    answer.unwrap_or_else(Answer::Failed)
}
