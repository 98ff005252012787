//! Loaders' progress, as the live page takes it.

use event::StreamName;
use live::{Progress, StreamProgress};
use loader::progress::LoaderState;
use tokio::sync::watch;

use super::Watched;

/// Joins the progress of all loaders into one. Ends by itself with the loaders.
pub(super) fn watch(loaders: Watched) -> watch::Receiver<Progress> {
    let (sender, receiver) = watch::channel(Progress::new());
    for (name, progress) in loaders {
        tokio::spawn(follow(name, progress, sender.clone()));
    }
    receiver
}

async fn follow(
    name: StreamName,
    mut progress: watch::Receiver<loader::Progress>,
    joined: watch::Sender<Progress>,
) {
    loop {
        let now = told(&progress.borrow_and_update());
        joined.send_modify(|all| {
            all.insert(name.clone(), now);
        });
        if progress.changed().await.is_err() {
            return;
        }
    }
}

fn told(progress: &loader::Progress) -> StreamProgress {
    StreamProgress {
        landed: progress.landed.clone(),
        table_version: progress.table_version.unwrap_or(0),
        committed_at: progress.committed_at,
        dead_total: progress.dead_total,
        conflict_total: progress.conflicts_total,
        state: match &progress.state {
            LoaderState::Starting => "starting".to_owned(),
            LoaderState::Running => "running".to_owned(),
            LoaderState::Retrying(reason) => format!("retrying: {reason}"),
            LoaderState::Halted(reason) => format!("waits for a person: {reason}"),
            LoaderState::Stopped => "stopped".to_owned(),
        },
    }
}
