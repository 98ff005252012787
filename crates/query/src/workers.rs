//! The threads that plan statements and compute answers.
//!
//! They are not those that serve requests: a heavy statement may keep its own threads busy, and
//! never those on which events are taken and acknowledged. There is one set of them, as long as the
//! process lives, because a connection to a lake that was opened on them may be in use elsewhere.

use std::io;
use std::sync::{Arc, LazyLock};

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use tokio::runtime::{Builder, Runtime};

use crate::error::{QueryError, QueryErrorKind};

/// Stack of one thread. Expressions are trees, walked by recursion; how deep they may be is in
/// [`crate::depth`]. Only what is used takes memory.
const STACK_BYTES: usize = 64 * 1024 * 1024;

static WORKERS: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread().thread_name("query").thread_stack_size(STACK_BYTES).enable_all().build()
});

/// The threads.
pub(crate) fn workers() -> Result<&'static Runtime, QueryError> {
    WORKERS.as_ref().map_err(|error| {
        QueryError::new(QueryErrorKind::Internal, format!("no threads could be started for SQL: {error}"))
    })
}

/// The plan with pauses behind its joins. A join can make a million rows of each batch it reads, and
/// when a filter throws them all away, nothing else lets the deadline have its turn.
pub(crate) fn with_pauses(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let paused = plan.transform_up(|node| {
        if node.name().contains("Join") {
            return Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as _));
        }
        Ok(Transformed::no(node))
    });
    Ok(paused?.data)
}
