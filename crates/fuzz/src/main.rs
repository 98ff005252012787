//! libFuzzer's program: one for all targets, since each more would be one more link of everything.
//! `LAKER_FUZZ_TARGET` names the target; the arguments are libFuzzer's own.
#![no_main]

use std::sync::LazyLock;

use fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("LAKER_FUZZ_TARGET").unwrap_or_default();
    let known = TARGETS.into_iter().find(|(known, _)| *known == name);
    known
        .unwrap_or_else(|| {
            panic!("LAKER_FUZZ_TARGET is {name:?}; targets: {:?}", TARGETS.map(|(known, _)| known))
        })
        .1
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
