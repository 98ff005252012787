//! The JSON suite of `tests/json`: what each record becomes, as its manifest says.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use decode::{DecodeOptions, Decoded, EventLimits, check_event, columns};
use serde::Deserialize;

use crate::oracle::{residual, uphold};
use crate::table::{Table, records};

const BEFORE: &str = r#"{"_id":"before","n":1}"#;
const AFTER: &str = r#"{"_id":"after","n":2}"#;

/// One line of the manifest, as far as records go.
#[derive(Debug, Deserialize)]
struct Case {
    file: String,
    record: String,
    residual: Option<String>,
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        fs::read(folder().join(&self.file)).unwrap()
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/json")
}

fn cases() -> Vec<Case> {
    let manifest = fs::read_to_string(folder().join("manifest.jsonl")).unwrap();
    manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Lands the case between its neighbours in a new table, as the loader does: decode, learn, decode again.
fn land(case: &[u8]) -> Decoded {
    let mut table = Table::new(DecodeOptions::default());
    let records = records(0, [BEFORE.as_bytes(), case, AFTER.as_bytes()]);
    table.schema = table.decode(&records).discovered.extend(&table.schema, &table.options);
    table.decode(&records)
}

fn offsets(rows: &RecordBatch) -> Vec<i64> {
    rows[columns::OFFSET].as_primitive::<arrow_array::types::Int64Type>().values().to_vec()
}

/// Whether the rows of both neighbours are as if the case had not been there.
fn neighbours_are_intact(rows: &RecordBatch) -> bool {
    let alone = land(b"null").rows;
    let last = rows.num_rows() - 1;
    [(0, 0, BEFORE), (last, 1, AFTER)].into_iter().all(|(at, alone_at, event)| {
        uphold(event, rows, at, true);
        let same = |name| rows[name].slice(at, 1) == alone[name].slice(alone_at, 1);
        residual(rows, at).is_none() && ["n", columns::ID].into_iter().all(same)
    })
}

/// What became of the case, in the manifest's words; `Err` says what else is wrong.
fn became(case: &[u8]) -> Result<(String, Option<String>), String> {
    let Decoded { rows, dead, .. } = land(case);
    if !neighbours_are_intact(&rows) {
        return Err("a neighbour has changed".to_owned());
    }
    let Some(dead) = dead else {
        if offsets(&rows) != [0, 1, 2] {
            return Err(format!("rows of offsets {:?} and no dead letter", offsets(&rows)));
        }
        uphold(std::str::from_utf8(case).unwrap(), &rows, 1, true);
        return Ok(("row".to_owned(), residual(&rows, 1).map(str::to_owned)));
    };
    if offsets(&rows) != [0, 2]
        || dead.num_rows() != 1
        || dead[columns::RAW].as_binary::<i32>().value(0) != case
    {
        return Err(format!("rows of offsets {:?} beside dead letters {dead:?}", offsets(&rows)));
    }
    assert!(!dead[columns::DETAIL].as_string::<i32>().value(0).is_empty());
    Ok((dead[columns::REASON].as_string::<i32>().value(0).to_owned(), None))
}

#[test]
fn each_record_is_a_row_or_a_dead_letter_as_the_manifest_says() {
    let wrong = cases().into_iter().filter_map(|case| {
        let wanted = Ok((case.record.clone(), case.residual.clone()));
        let found = became(&case.bytes());
        (found != wanted).then(|| format!("{}: {found:?}, and the manifest says {wanted:?}", case.file))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn each_file_has_one_entry_in_the_manifest_and_there_are_enough() {
    let listed: Vec<_> = cases().into_iter().map(|case| case.file).collect();
    let found = ["valid", "invalid", "implementation-defined"].into_iter().flat_map(|kind| {
        let entries = fs::read_dir(folder().join(kind)).unwrap();
        entries.map(move |entry| format!("{kind}/{}", entry.unwrap().file_name().display()))
    });
    let found: BTreeSet<_> = found.collect();
    assert_eq!(listed, found.into_iter().collect::<Vec<_>>(), "the manifest is in the order of the files");
    assert!(listed.len() >= 250, "{} cases", listed.len());
}

#[test]
fn serde_json_and_the_folders_agree_on_what_is_json() {
    for case in cases() {
        let bytes = case.bytes();
        let text = std::str::from_utf8(&bytes);
        let theirs = text.is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        match case.file.split('/').next().unwrap() {
            "valid" => assert!(theirs, "serde_json refuses {}", case.file),
            "invalid" => assert!(!theirs, "serde_json takes {}", case.file),
            _ => {}
        }
    }
}

#[test]
fn the_folders_and_the_verdicts_agree() {
    for case in cases() {
        let verdict = check_event(&case.bytes(), EventLimits::default());
        let code = verdict.map_or_else(|reason| reason.code(), |()| "row");
        match case.file.split('/').next().unwrap() {
            "valid" => assert!(["row", "not_an_object"].contains(&code), "{}: {code}", case.file),
            "invalid" => assert!(!["row", "not_an_object"].contains(&code), "{}: {code}", case.file),
            _ => assert_eq!(code, case.record, "{}", case.file),
        }
    }
}
