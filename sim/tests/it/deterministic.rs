//! A seed is a run, byte for byte; otherwise no failure could be looked into.

use sim::{TableKind, run};

fn trace(seed: u64, kind: TableKind) -> String {
    let report = run(seed, kind, true);
    assert!(report.trace.len() > 50, "a run of {} lines is none", report.trace.len());
    report.trace.join("\n")
}

#[test]
fn one_seed_is_one_trace_with_plain_parquet() {
    for seed in 1..=10 {
        assert_eq!(trace(seed, TableKind::Parquet), trace(seed, TableKind::Parquet), "seed {seed}");
    }
}

#[test]
fn one_seed_is_one_trace_with_delta() {
    for seed in 1..=10 {
        assert_eq!(trace(seed, TableKind::Delta), trace(seed, TableKind::Delta), "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_trace() {
    assert_ne!(trace(1, TableKind::Parquet), trace(2, TableKind::Parquet));
}
