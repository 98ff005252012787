//! Which crate may see which: architecture's boundaries, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Direct dependencies of each crate of ours, without those of its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let metadata: Value = serde_json::from_slice(&cargo.output().unwrap().stdout).unwrap();
    let name = |of: &Value| of["name"].as_str().unwrap().to_owned();
    let used_by = |package: &Value| {
        let used = package["dependencies"].as_array().unwrap().iter().filter(|used| used["kind"] != "dev");
        used.map(name).collect()
    };
    metadata["packages"].as_array().unwrap().iter().map(|package| (name(package), used_by(package))).collect()
}

/// `unify` only brings the features of shared dependencies together and is seen by all.
fn is_ours(dependencies: &BTreeMap<String, BTreeSet<String>>, name: &str) -> bool {
    name != "unify" && dependencies.contains_key(name)
}

/// What `krate` sees, our own crates followed to the end.
fn reachable(dependencies: &BTreeMap<String, BTreeSet<String>>, krate: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![krate.to_owned()];
    while let Some(next) = open.pop() {
        for used in dependencies.get(&next).into_iter().flatten().filter(|used| *used != "unify") {
            if found.insert(used.clone()) {
                open.push(used.clone());
            }
        }
    }
    found
}

#[test]
fn the_vocabulary_knows_no_other_crate_of_ours_and_does_no_input_or_output() {
    let dependencies = dependencies();
    let ours: Vec<_> = dependencies["event"].iter().filter(|name| is_ours(&dependencies, name)).collect();
    assert!(ours.is_empty(), "event depends on {ours:?}");
    assert_absent(&dependencies["event"], "event", &["axum", "object_store", "rdkafka", "reqwest", "fjall"]);
}

#[test]
fn the_loader_sees_logs_and_tables_only_as_plain_data() {
    let seen = reachable(&dependencies(), "loader");
    assert_absent(
        &seen,
        "loader",
        &["rdkafka", "deltalake-core", "datafusion", "axum", "eventlog-kafka", "table-delta"],
    );
}

#[test]
fn the_collector_sees_no_table_and_the_query_no_writer() {
    let dependencies = dependencies();
    assert_absent(
        &reachable(&dependencies, "collector"),
        "collector",
        &["table", "table-delta", "deltalake-core", "loader"],
    );
    assert_absent(
        &reachable(&dependencies, "query"),
        "query",
        &["loader", "collector", "table-delta", "deltalake-core"],
    );
    assert_absent(&dependencies["decode"], "decode", &["tokio", "object_store", "axum", "eventlog", "table"]);
}

#[test]
fn what_verifies_sees_logs_and_tables_only_as_plain_data_and_nothing_that_writes_them() {
    let seen = reachable(&dependencies(), "verify");
    assert_absent(
        &seen,
        "verify",
        &[
            "rdkafka",
            "deltalake-core",
            "datafusion",
            "axum",
            "eventlog-kafka",
            "table-delta",
            "loader",
            "query",
        ],
    );
}

#[test]
fn each_heavy_library_is_seen_by_one_crate() {
    for (library, owner) in [
        ("rdkafka", "eventlog-kafka"),
        ("deltalake-core", "table-delta"),
        ("buoyant_kernel", "table-delta"),
        ("datafusion", "query"),
        ("fjall", "eventlog"),
    ] {
        let dependencies = dependencies();
        let users = dependencies.iter().filter(|(_, used)| used.contains(library));
        let users: Vec<_> = users.map(|(name, _)| name.as_str()).filter(|name| *name != "unify").collect();
        assert_eq!(users, [owner], "{library} belongs to {owner} alone");
    }
}

#[test]
fn every_version_stands_in_the_workspace_and_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let listed: BTreeSet<&str> = section.lines().filter_map(name_of).collect();
    let mut used = BTreeSet::new();
    for name in dependencies().keys().filter(|name| *name != "unify") {
        let folder = if ["sim", "xtask"].contains(&name.as_str()) {
            root.join(name)
        } else {
            root.join("crates").join(name)
        };
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for line in dependency_lines(&manifest) {
            assert!(line.contains("workspace = true"), "{name}: `{line}` has a version of its own");
            used.insert(name_of(line).unwrap().trim_end_matches(".workspace").to_owned());
        }
    }
    let unused: Vec<_> = listed.iter().filter(|name| !used.contains(**name)).collect();
    assert!(unused.is_empty(), "no crate uses {unused:?}");
}

/// The name before `=` of a line that begins a dependency.
fn name_of(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('=')?;
    name.starts_with(|c: char| c.is_ascii_alphabetic()).then(|| name.trim())
}

/// The lines of all dependency sections that name a dependency.
fn dependency_lines(manifest: &str) -> Vec<&str> {
    let sections =
        manifest.split("\n[").filter(|section| section.split(']').next().unwrap().ends_with("dependencies"));
    sections.flat_map(|section| section.lines().skip(1)).filter(|line| name_of(line).is_some()).collect()
}

fn assert_absent(seen: &BTreeSet<String>, krate: &str, forbidden: &[&str]) {
    let found: Vec<_> = forbidden.iter().filter(|name| seen.contains(**name)).collect();
    assert!(found.is_empty(), "{krate} must not see {found:?}");
}
