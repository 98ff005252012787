//! Log lines and metrics.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Seconds; from a fast fsync to a slow bucket.
const SECONDS_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Sends log lines to stderr: those of `RUST_LOG`, else `default_level` and above.
pub fn start_logging(default_level: &str) {
    // Delta's crates log as an ERROR each error that they also return. Whether a human must look is for whoever gets
    // it to say: a read that is tried again, or a checkpoint that could not be written, is no such thing.
    let quiet_libraries = "rdkafka=warn,librdkafka=warn,deltalake_core=off,delta_kernel=off,buoyant_kernel=off,buoyant_kernel_engine=off,fjall=warn,lsm_tree=warn,hyper=warn";
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{default_level},{quiet_libraries}")));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Collects metrics from here on; the handle renders them.
///
/// # Errors
/// When metrics are collected already.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS_BUCKETS)?;
    Ok(builder.install_recorder()?)
}

/// Prints what went wrong, for a person.
#[expect(clippy::print_stderr, reason = "the command's own words, not a log line")]
pub fn complain(error: &anyhow::Error) {
    eprintln!("laker: {error:#}");
}
