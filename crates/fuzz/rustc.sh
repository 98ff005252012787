#!/bin/sh
# RUSTC_WORKSPACE_WRAPPER of `cargo xtask fuzz`: compiles our own crates, and only ours, with the
# counters that guide libFuzzer. Dependencies stay as they are, so that nothing of them is built anew.
# The same as `cargo fuzz` passes; none of it needs a nightly compiler.
case " $* " in
*" --crate-name build_script_"*) exec "$@" ;;
*" --crate-name "*)
    exec "$@" \
        -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
*) exec "$@" ;;
esac
