//! `laker gap`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use event::{Clock, OffsetRanges};

use crate::cli::GapArgs;
use crate::settings::{Settings, StreamSettings};
use crate::{parts, telemetry};

/// Records in the stream's table that what was named is gone.
pub(super) async fn accept(args: GapArgs) -> Result<ExitCode> {
    let settings = super::load_settings(&args.settings)?;
    telemetry::start_logging("warn");
    let stream = find(&settings, &args.stream)?;
    let mut gaps = OffsetRanges::new();
    for (partition, range) in args.gaps {
        gaps.extend(partition, range).context("a partition was named twice")?;
    }
    let clock = Clock::system();
    let log = parts::open_log(&settings, &clock).await?;
    let lake = parts::open_lake(&settings, &clock).await?;
    let tables = parts::tables(&lake, stream, &clock);
    let accepted = loader::gap::accept(&gaps, &*log, &stream.topic, &*tables.main, &clock).await;
    let state = accepted.with_context(|| format!("no gap of stream {} was accepted", stream.name))?;
    for (partition, range) in gaps.iter() {
        print(&format!(
            "partition {partition}: {} offsets recorded as gone; a loader goes on at {}\n",
            range.offset_count(),
            range.end()
        ));
    }
    print(&format!("table {}, version {}\n", stream.table, state.version));
    Ok(ExitCode::SUCCESS)
}

fn find<'a>(settings: &'a Settings, name: &str) -> Result<&'a StreamSettings> {
    let found = settings.streams.iter().find(|stream| stream.name.as_str() == name);
    let Some(stream) = found else {
        let known: Vec<String> = settings.streams.iter().map(|stream| stream.name.to_string()).collect();
        bail!("there is no stream {name:?} in the settings; there is {}", known.join(", "));
    };
    Ok(stream)
}

#[expect(clippy::print_stdout, reason = "the command's own words, not a log line")]
fn print(text: &str) {
    print!("{text}");
}
