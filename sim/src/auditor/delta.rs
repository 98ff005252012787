//! Tables made of Delta's log, by the Delta protocol's definition of its entries.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

/// One entry of the log.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) version: u64,
    /// By partition, the `version` of its transaction: its next offset.
    pub(super) transactions: BTreeMap<u32, u64>,
    pub(super) files: Vec<File>,
    /// What `commitInfo` says of ranges, by partition.
    told: Option<BTreeMap<u32, (u64, u64)>>,
}

#[derive(Debug)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) size: u64,
}

impl Entry {
    pub(super) fn parse(name: &str, bytes: &Bytes) -> Result<Self, String> {
        let version = name.strip_suffix(".json").and_then(|digits| digits.parse().ok());
        let mut entry =
            Self { version: version.ok_or_else(|| format!("{name} is no entry"))?, ..Self::default() };
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let action: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
            entry.take(&action).ok_or_else(|| format!("not to be understood: {action}"))?;
        }
        Ok(entry)
    }

    fn take(&mut self, action: &Value) -> Option<()> {
        if let Some(txn) = action.get("txn") {
            let of_position = txn.get("appId")?.as_str()?.strip_prefix("laker/");
            if let Some((_, partition)) = of_position.and_then(|id| id.rsplit_once('/')) {
                self.transactions.insert(partition.parse().ok()?, txn.get("version")?.as_u64()?);
            }
        } else if let Some(add) = action.get("add") {
            let path = add.get("path")?.as_str()?.to_owned();
            self.files.push(File { path, size: add.get("size")?.as_u64()? });
        } else if let Some(info) = action.get("commitInfo") {
            self.told = info.get("laker.ranges").and_then(ranges);
        } else if action.get("remove").is_some() {
            return None;
        }
        Some(())
    }

    /// What it tells of its ranges is what it does.
    pub(super) fn check_ranges(&self, done: &BTreeMap<u32, (u64, u64)>) -> Result<(), String> {
        match &self.told {
            Some(told) if told != done => {
                Err(format!("I3 chain: ranges {told:?} are told, {done:?} are done"))
            }
            _ => Ok(()),
        }
    }
}

fn ranges(told: &Value) -> Option<BTreeMap<u32, (u64, u64)>> {
    let one = |(partition, range): (&String, &Value)| {
        Some((partition.parse().ok()?, (range.get(0)?.as_u64()?, range.get(1)?.as_u64()?)))
    };
    told.as_object()?.iter().map(one).collect()
}
