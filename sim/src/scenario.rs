//! What a run is made of, drawn by its seed.

use std::fmt;
use std::time::Duration;

use loader::FlushLimits;

use crate::chance::Chance;
use crate::network::Rates;

/// Which table is loaded into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// Plain Parquet files.
    Parquet,
    /// Delta Lake.
    Delta,
}

impl fmt::Display for TableKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "parquet",
            Self::Delta => "delta",
        })
    }
}

/// One run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Partitions of the topic.
    pub partition_count: u32,
    /// Loaders at a time, all in one group.
    pub loader_count: usize,
    /// Collectors at a time.
    pub collector_count: usize,
    /// Clients that send to collectors.
    pub client_count: usize,
    /// Requests each client makes.
    pub request_count: u64,
    /// Appends by a producer of somebody else's, with poison and tombstones.
    pub foreign_append_count: u64,
    /// When a batch is cut.
    pub flush: FlushLimits,
    /// Whether a group revokes everything at each change.
    pub eager_group: bool,
    /// How often an append leaves offsets without a record, out of 1,000.
    pub holes: u32,
    /// What goes wrong between loader and store.
    pub store: Rates,
    /// What goes wrong between anybody and the log.
    pub log: Rates,
    /// Mean time between two troubles (crash, pause, outage, jump of a clock); none at zero.
    pub trouble_pause: Duration,
    /// When troubles and faults end.
    pub calm_after: Duration,
}

impl Scenario {
    /// The scenario of a seed. Each kind of fault is off in about half of all runs, so that every
    /// combination is met, also the one without any.
    #[must_use]
    pub fn draw(chance: &mut Chance) -> Self {
        Self {
            partition_count: small(chance, 1..5),
            loader_count: small(chance, 1..4),
            collector_count: small(chance, 1..3),
            client_count: small(chance, 1..4),
            request_count: chance.within(2..12),
            foreign_append_count: chance.below(14),
            flush: FlushLimits {
                rows_max: *chance.one_of(&[3, 10, 30, 100]),
                bytes_max: *chance.one_of(&[2_000, 20_000, 1 << 30]),
                age_max: Duration::from_millis(*chance.one_of(&[50, 500, 3_000])),
            },
            eager_group: chance.is_lucky(400),
            holes: rate(chance, 500),
            store: rates(chance, 80),
            log: Rates { stale: 0, unsure: 0, ..rates(chance, 40) },
            trouble_pause: Duration::from_millis(*chance.one_of(&[0, 1_000, 3_000, 10_000])),
            calm_after: Duration::from_secs(chance.within(5..60)),
        }
    }
}

fn small<T: TryFrom<u64, Error: fmt::Debug>>(chance: &mut Chance, range: std::ops::Range<u64>) -> T {
    T::try_from(chance.within(range)).expect("a number below ten fits")
}

fn rate(chance: &mut Chance, per_mille_max: u64) -> u32 {
    if chance.is_lucky(500) { 0 } else { small(chance, 1..per_mille_max) }
}

fn rates(chance: &mut Chance, per_mille_max: u64) -> Rates {
    Rates {
        lost_before: rate(chance, per_mille_max),
        lost_after: rate(chance, per_mille_max),
        late: rate(chance, per_mille_max),
        doubled: rate(chance, per_mille_max),
        slow: rate(chance, per_mille_max / 4),
        // A read that is not of now is no S3; it is rare also where it happens.
        stale: if chance.is_lucky(700) { 0 } else { small(chance, 1..20) },
        unsure: rate(chance, per_mille_max),
    }
}
