//! A few seeds at every build, and those that once found something.

use sim::{TableKind, run};

fn assert_kept(seed: u64, kind: TableKind) {
    let report = run(seed, kind, false);
    if let Err(broken) = report.outcome {
        panic!("seed {seed}, {kind}: {broken}");
    }
}

#[test]
fn every_promise_is_kept_by_the_first_seeds() {
    for seed in 1..=40 {
        assert_kept(seed, TableKind::Parquet);
        assert_kept(seed, TableKind::Delta);
    }
}
