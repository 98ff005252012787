//! How files and functions look. The code is formatted, so lines and indentation say enough.

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// A text file of ours.
struct Source {
    /// Under the root of the workspace.
    path: String,
    text: String,
}

impl Source {
    /// The part that is not tests: up to the module of tests, nothing of a file of tests.
    fn production(&self) -> &str {
        let is_test = ["/tests/", "/tests.rs", "conformance"].iter().any(|part| self.path.contains(part));
        if is_test { "" } else { self.text.split("\n#[cfg(test)]\nmod ").next().unwrap_or("") }
    }
}

/// All files of ours with one of these endings.
fn sources(endings: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for folder in [".ci", "crates", "docs", "examples", "sdk", "sim", "tests", "web", "xtask"] {
        collect(&root.join(folder), endings, &mut found);
    }
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    found.extend(entries.filter(|path| path.is_file() && has_ending(path, endings)));
    assert!(!found.is_empty(), "the sources are not where this test looks");
    let read = |path: PathBuf| Source {
        text: fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(root).unwrap().display().to_string(),
    };
    found.into_iter().map(read).collect()
}

fn collect(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    const NOT_OURS: [&str; 6] =
        ["__pycache__", "node_modules", ".venv", ".mypy_cache", ".pytest_cache", "target"];
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !NOT_OURS.contains(&&*name) && !name.ends_with(".egg-info") {
                collect(&path, endings, found);
            }
        } else if has_ending(&path, endings) {
            found.push(path);
        }
    }
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let path = path.to_string_lossy();
    endings.iter().any(|ending| path.ends_with(ending))
}

/// Name and number of lines of every function: from `fn` to the first `}` at the same indentation.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        if line.ends_with(';') || line.ends_with('}') {
            continue;
        }
        let end = format!("{}}}", " ".repeat(line.len() - line.trim_start().len()));
        let length = lines[start..].iter().position(|later| *later == end);
        found.extend(length.map(|length| (name.to_owned(), length + 1)));
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    const BEFORE: [&str; 5] = ["pub", "pub(crate)", "pub(super)", "async", "const"];
    let mut words = line.split_whitespace().skip_while(|word| BEFORE.contains(word));
    (words.next()? == "fn").then(|| words.next())?.map(|name| name.split(['(', '<']).next().unwrap_or(name))
}

#[test]
fn functions_are_short() {
    let mut lengths = Vec::new();
    let mut long = Vec::new();
    for source in sources(&[".rs"]) {
        for (name, length) in functions(source.production()) {
            if length > FUNCTION_LINES_MAX {
                long.push(format!("{}: fn {name} has {length} lines", source.path));
            }
            lengths.push(length);
        }
    }
    assert!(long.is_empty(), "over {FUNCTION_LINES_MAX} lines:\n{}", long.join("\n"));
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= 10, "half of the functions have more than {median} lines");
}

#[test]
fn files_are_short() {
    let lengths =
        sources(&[".rs"]).into_iter().map(|source| (source.production().lines().count(), source.path));
    let long: Vec<_> = lengths.filter(|(lines, _)| *lines > FILE_LINES_MAX).collect();
    assert!(long.is_empty(), "over {FILE_LINES_MAX} lines without tests: {long:?}");
}

#[test]
fn every_module_says_what_it_is() {
    let silent = |source: &Source| !source.production().is_empty() && !source.text.starts_with("//!");
    let silent: Vec<_> = sources(&[".rs"]).into_iter().filter(silent).map(|source| source.path).collect();
    assert!(silent.is_empty(), "no `//!` at the head of {silent:?}");
}

#[test]
fn nothing_is_left_to_do_and_nothing_names_a_machine() {
    // Written in two parts, so that this file is not found itself.
    let forbidden =
        [("TO", "DO"), ("FIX", "ME"), ("/ro", "ot/"), ("/wo", "rk/"), ("/ho", "me/"), ("todo", "!(")];
    let mut found = Vec::new();
    for source in sources(&[".rs", ".py", ".js", ".ts", ".css", ".html", ".md", ".toml", ".xml", "/run"]) {
        for (number, line) in source.text.lines().enumerate() {
            for (one, two) in forbidden.iter().filter(|(one, two)| line.contains(&format!("{one}{two}"))) {
                found.push(format!("{}:{}: {one}{two}", source.path, number + 1));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_line_ends_in_blanks_and_every_file_ends_its_last_line() {
    for source in sources(&[".rs", ".py", ".js", ".ts", ".css", ".html", ".md", ".toml", ".xml", "/run"]) {
        let blank = source.text.lines().position(|line| line.ends_with([' ', '\t', '\r']));
        assert_eq!(blank.map(|at| at + 1), None, "{}: this line ends in blanks", source.path);
        assert!(
            source.text.is_empty() || source.text.ends_with('\n'),
            "{} does not end its last line",
            source.path
        );
    }
}

#[test]
fn functions_are_found_and_measured() {
    let text = "pub fn one() {\n    1\n}\n\nimpl X {\n    async fn two<T>(\n    ) -> T {\n        {\n        }\n    }\n}\nfn three();\n";
    assert_eq!(functions(text), [("one".to_owned(), 3), ("two".to_owned(), 5)]);
}
