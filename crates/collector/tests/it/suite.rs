//! The JSON suite of `tests/json`: which verdicts each case gets over HTTP, as its manifest says.

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use crate::support::{Answer, Fixture};

const BEFORE: &[u8] = br#"{"_id":"before","n":1}"#;
const AFTER: &[u8] = br#"{"_id":"after","n":2}"#;

/// One line of the manifest, as far as HTTP goes.
#[derive(Debug, Deserialize)]
struct Case {
    file: String,
    record: String,
    line: Option<Vec<String>>,
    body: Option<Body>,
}

/// What a body becomes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Body {
    /// Refused whole, with this code.
    Refused(String),
    /// A verdict for each of its events.
    Verdicts(Vec<String>),
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        fs::read(folder().join(&self.file)).unwrap()
    }

    fn line(&self) -> Vec<String> {
        self.line.clone().unwrap_or_else(|| vec![self.record.clone()])
    }

    fn body(&self) -> Body {
        self.body.clone().unwrap_or_else(|| Body::Verdicts(vec![self.record.clone()]))
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/json")
}

fn cases() -> Vec<Case> {
    let manifest = fs::read_to_string(folder().join("manifest.jsonl")).unwrap();
    manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The verdict on each event of a request, from what was answered.
fn verdicts(answer: &Answer, logged: usize) -> Body {
    let rejected = answer.json["rejected"].as_array();
    let Some(rejected) = rejected else {
        return Body::Refused(answer.json["code"].as_str().unwrap().to_owned());
    };
    let mut verdicts = vec!["row".to_owned(); logged + rejected.len()];
    for one in rejected {
        verdicts[one["index"].as_u64().unwrap() as usize] = one["code"].as_str().unwrap().to_owned();
    }
    Body::Verdicts(verdicts)
}

/// Whether `parts` stand in `whole`, one after another.
fn are_in_order(parts: &[bytes::Bytes], whole: &[u8]) -> bool {
    let mut rest = whole;
    parts.iter().all(|part| {
        let at = rest.windows(part.len()).position(|window| window == part);
        at.is_some_and(|at| {
            rest = &rest[at + part.len()..];
            true
        })
    })
}

#[tokio::test]
async fn between_two_lines_each_case_gets_the_verdicts_of_the_manifest_and_its_neighbours_are_taken() {
    for case in cases() {
        let fixture = Fixture::new();
        let bytes = case.bytes();
        let answer = fixture.post([BEFORE, &bytes, AFTER].join(&b'\n')).await;
        let logged = fixture.log.raw_events("logs");
        assert_eq!(answer.accepted() as usize, logged.len(), "{}", case.file);
        let Body::Verdicts(found) = verdicts(&answer, logged.len()) else { panic!("{}", case.file) };
        let row = || "row".to_owned();
        let wanted: Vec<_> = [vec![row()], case.line(), vec![row()]].concat();
        assert_eq!(found, wanted, "{}", case.file);
        assert_eq!((&logged[0][..], &logged[logged.len() - 1][..]), (BEFORE, AFTER), "{}", case.file);
        assert!(are_in_order(&logged[1..logged.len() - 1], &bytes), "{}: {logged:?}", case.file);
    }
}

#[tokio::test]
async fn alone_each_case_gets_the_verdicts_of_the_manifest() {
    for case in cases() {
        let fixture = Fixture::new();
        let bytes = case.bytes();
        let answer = fixture.post(bytes.clone()).await;
        let logged = fixture.log.raw_events("logs");
        assert_eq!(answer.status.as_u16(), if logged.is_empty() { 400 } else { 200 }, "{}", case.file);
        assert_eq!(verdicts(&answer, logged.len()), case.body(), "{}", case.file);
        assert!(are_in_order(&logged, &bytes), "{}: {logged:?}", case.file);
    }
}
