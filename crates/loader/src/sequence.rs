//! Stage 6: uploads run side by side, commits follow in the order of the batches.
//!
//! Each batch takes its place in line before its upload begins.

use std::sync::Arc;

use event::{Positions, limits};
use futures::stream::{FuturesOrdered, StreamExt};
use table::{Table, TableState};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::LoadError;
use crate::commit::{Committed, Committer, Fenced};
use crate::encode::EncodedBatch;
use crate::upload::{StoredBatch, upload};

/// What the worker asks of the table.
#[derive(Debug)]
pub(crate) enum Request {
    /// Land this batch.
    Land(Box<EncodedBatch>),
    /// Where do these partitions go on? Answered after everything asked before.
    Positions(Vec<event::PartitionId>),
    /// How far is the table, whoever moved it? Answered after everything asked before.
    Refresh,
}

/// What the table answered. One for each request, in order.
#[derive(Debug)]
pub(crate) enum Answer {
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

/// Serves requests until the worker hangs up.
pub(crate) async fn sequence(
    mut committer: Committer,
    table: Arc<dyn Table>,
    mut requests: mpsc::Receiver<Request>,
    answer: impl Fn(Answer),
) {
    let mut line: FuturesOrdered<JoinHandle<Result<StoredBatch, LoadError>>> = FuturesOrdered::new();
    loop {
        tokio::select! {
            biased;
            Some(uploaded) = line.next() => answer(land(&mut committer, uploaded).await),
            request = requests.recv(), if line.len() < limits::BATCHES_IN_FLIGHT_MAX => match request {
                None => break,
                Some(Request::Land(batch)) => {
                    line.push_back(tokio::spawn(upload(*batch, Arc::clone(&table), committer.patience())));
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

async fn land(
    committer: &mut Committer,
    uploaded: Result<Result<StoredBatch, LoadError>, tokio::task::JoinError>,
) -> Answer {
    let landed = match uploaded {
        Ok(Ok(batch)) => committer.commit(batch).await,
        Ok(Err(error)) => Err(error),
        Err(_panicked) => Err(committer.stage_lost("upload")),
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
