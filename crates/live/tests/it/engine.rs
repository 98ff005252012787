//! A real SQL engine over a log, and a lake where nothing has landed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use decode::DecodeOptions;
use event::Clock;
use eventlog::EventLog;
use query::{QueryEngine, QueryOptions, QuerySource};
use table::{Lake, ParquetTable};

/// An engine that knows stream `logs`, whose topic has the same name.
pub fn engine(log: Arc<dyn EventLog>, lake: &Path, clock: &Clock) -> Arc<QueryEngine> {
    let lake =
        Lake::open(&format!("file:{}", lake.display()), &BTreeMap::new()).expect("a folder that is there");
    let table = |name: &str| Arc::new(ParquetTable::new(lake.clone(), name, clock.clone()));
    let source = QuerySource {
        name: "logs".to_owned(),
        table: table("logs"),
        dead: table("logs__dead"),
        store: lake.store().clone(),
        log: Some((log, "logs".to_owned())),
        decode: Arc::new(DecodeOptions::default()),
    };
    let engine = QueryEngine::new(vec![source], QueryOptions::default(), clock.clone());
    Arc::new(engine.expect("usual options and one name"))
}
