//! Every input of the corpus, and every file of the JSON suite, holds the laws of its target.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::fs;
use std::path::{Path, PathBuf};

use fuzz::{TARGETS, Target};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn target(name: &str) -> Target {
    TARGETS.into_iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn every_input_of_the_corpus_holds_the_laws_of_its_target() {
    for (name, target) in TARGETS {
        let inputs = files(&root().join("corpus").join(name));
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            eprintln!("{}", input.display());
            target(&fs::read(&input).unwrap());
        }
    }
}

#[test]
fn every_file_of_the_json_suite_holds_the_laws_of_events_and_bodies() {
    for input in files(&root().join("../../tests/json")) {
        eprintln!("{}", input.display());
        let bytes = fs::read(&input).unwrap();
        for name in ["action", "body", "event"] {
            target(name)(&bytes);
        }
    }
}

#[test]
fn each_target_has_its_folder_and_no_folder_is_left_over() {
    let folders = fs::read_dir(root().join("corpus")).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = folders.filter(|path| path.is_dir()).collect();
    names.sort();
    let names: Vec<_> = names.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, TARGETS.map(|(name, _)| name));
}
