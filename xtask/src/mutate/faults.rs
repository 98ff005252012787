//! Deliberate faults in the protocol, each one small replacement in one file.

use anyhow::{Result, ensure};

/// One fault.
pub struct Fault {
    /// Short, for `--only`.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    /// File under the clone.
    pub file: &'static str,
    /// Text of the file, which occurs once.
    from: &'static str,
    /// What stands in its place.
    to: &'static str,
    /// Package and filter of the tests that find it, where the simulator cannot: faults that the
    /// compare-and-swap makes harmless, and that only cost work.
    pub suite: Option<(&'static str, &'static str)>,
}

impl Fault {
    /// The file's text with the fault.
    ///
    /// # Errors
    /// When the code has changed, so that the fault does not apply any more.
    pub fn apply(&self, text: &str) -> Result<String> {
        let count = text.matches(self.from).count();
        ensure!(
            count == 1,
            "fault {:?} occurs {count} times in {}; bring it up to date",
            self.name,
            self.file
        );
        Ok(text.replacen(self.from, self.to, 1))
    }
}

const WORKER: &str = "crates/loader/src/worker.rs";
const CONSUME: &str = "crates/loader/src/consume.rs";
const COMMIT: &str = "crates/loader/src/commit.rs";
const PARQUET: &str = "crates/table/src/parquet_table.rs";
const OBJECT: &str = "crates/table/src/parquet_table/object.rs";
const SMALL: &str = "crates/table/src/parquet_table/small.rs";
const KNOWN: &str = "crates/table/src/parquet_table/known.rs";
const DELTA: &str = "crates/table-delta/src/lib.rs";
const PLACE: &str = "crates/table-delta/src/place.rs";
const WRITE: &str = "crates/table-delta/src/write.rs";

/// All of them, by the order an event takes.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "acknowledge-first",
        what: "the collector acknowledges events that it never appends",
        file: "crates/collector/src/append.rs",
        from: "let appended = clock.timeout(limits.append_deadline, log.take(&self.route.topic, events)).await;",
        to: "let _ = log;\n        \
             let place = eventlog::Placement { partition: event::PartitionId(0), offset: event::Offset(0) };\n        \
             let appended: Option<Result<Taken, LogError>> = Some(Ok(Taken::InLog(vec![place; count])));",
        suite: None,
    },
    Fault {
        name: "acknowledge-timeout",
        what: "an append whose outcome is unknown is acknowledged",
        file: "crates/collector/src/append.rs",
        from: "Some(Err(error)) => Err(self.refuse(&error)),",
        to: "Some(Err(_)) => {\n                \
             let place = eventlog::Placement { partition: event::PartitionId(0), offset: event::Offset(0) };\n                \
             Ok(self.acknowledge(count, Taken::InLog(vec![place; count])))\n            }",
        suite: None,
    },
    Fault {
        name: "stale-fetch",
        what: "a fetch of before the last start is taken",
        file: WORKER,
        from: "let Some(reading) = reading.filter(|reading| reading.generation == generation) else {",
        to: "let Some(reading) = reading else {",
        suite: None,
    },
    Fault {
        name: "start-not-told-apart",
        what: "what follows a start is not told from what was read before it",
        file: CONSUME,
        from: "self.waiting.push_back(Heard::Fetched(fetched, generation));",
        to: "let newest = self.generations.values().max().copied().unwrap_or(generation);\n                self.waiting.push_back(Heard::Fetched(fetched, newest));",
        suite: Some(("loader", "worker")),
    },
    Fault {
        name: "fence-ignored",
        what: "a fenced batch is taken for settled, and nothing is read again",
        file: WORKER,
        from: "Answer::Fenced(fenced) => self.on_fenced(fenced),",
        to: "Answer::Fenced(fenced) => {\n                self.settled = fenced.label.sequence;\n                Ok(())\n            }",
        suite: None,
    },
    Fault {
        name: "fence-keeps-buffer",
        what: "what was buffered before a fence is kept",
        file: WORKER,
        from: "        self.open = OpenBatch::default();\n        self.stage = self.stage_for(&fenced.state.schema)?;",
        to: "        self.stage = self.stage_for(&fenced.state.schema)?;",
        suite: None,
    },
    Fault {
        name: "fence-keeps-position",
        what: "after a fence reading goes on from the loader's own position, not the table's",
        file: WORKER,
        from: "self.begin(fenced.state.positions.of(&staying));",
        to: "let own = staying.iter().filter_map(|p| Some((*p, self.buffered.get(p)?.next))).collect();\n        self.begin(own);",
        suite: None,
    },
    Fault {
        name: "lost-keeps-buffer",
        what: "what was buffered of partitions that were lost is kept",
        file: WORKER,
        from: "            self.forget(&partitions);\n",
        to: "",
        suite: None,
    },
    Fault {
        name: "release-before-drain",
        what: "revoked partitions are given back while a batch of theirs is under way",
        file: WORKER,
        from: "Some(revoking) if self.settled >= revoking.until_settled => self.give_back(revoking.partitions),",
        to: "Some(revoking) => self.give_back(revoking.partitions),",
        suite: Some(("loader", "worker")),
    },
    Fault {
        name: "revoke-without-cut",
        what: "what is buffered of revoked partitions stays in the open batch",
        file: WORKER,
        from: "        self.cut()?;\n        let deadline = now + limits::REVOKE_DRAIN_MAX;",
        to: "        let deadline = now + limits::REVOKE_DRAIN_MAX;",
        suite: Some(("loader", "worker")),
    },
    Fault {
        name: "schema-shrinks",
        what: "an older schema of the table is adopted over the loader's newer one",
        file: WORKER,
        from: "if grown && table::schema::is_superset(schema, self.stage.schema()) {",
        to: "if !grown {",
        suite: Some(("loader", "worker")),
    },
    Fault {
        name: "epoch-unchecked",
        what: "a batch behind a fenced one is committed",
        file: COMMIT,
        from: "if self.fenced_epoch.is_some_and(|fenced| batch.label.epoch <= fenced) {",
        to: "if false {",
        suite: Some(("loader", "fenced")),
    },
    Fault {
        name: "dead-letters-left-out",
        what: "rows are committed without their dead letters",
        file: COMMIT,
        from: "if !batch.dead.is_empty() {",
        to: "if false {",
        suite: None,
    },
    Fault {
        name: "dead-letters-unfiltered",
        what: "dead letters that the chain has already are committed again",
        file: COMMIT,
        from: "let letters = letters_from(letters, next);",
        to: "let letters = letters_from(letters, Offset::ZERO);",
        suite: None,
    },
    Fault {
        name: "dead-letters-one-round",
        what: "dead letters fenced by another loader's are taken for landed",
        file: COMMIT,
        from: "tracing::info!(stream = %self.stream, reason, \"dead letters met another loader's\");",
        to: "let _ = reason;\n                    return Ok(());",
        suite: None,
    },
    Fault {
        name: "dead-letters-no-start",
        what: "partitions begin in the main table only",
        file: COMMIT,
        from: "self.patience.insist(\"begin\", || self.dead.begin(&self.log_id, &starts)).await?;",
        to: "",
        suite: None,
    },
    Fault {
        name: "start-at-the-end",
        what: "a partition no table knows is read from its end, whatever the policy",
        file: COMMIT,
        from: "let latest = new_table && self.start == StartPolicy::Latest;",
        to: "let latest = new_table;",
        suite: None,
    },
    Fault {
        name: "new-batch-id",
        what: "each attempt at a commit has a batch id of its own",
        file: COMMIT,
        from: "self.patience.insist(\"commit\", || self.main.commit(&commit)).await?;",
        to: "self\n            .patience\n            .insist(\"commit\", || {\n                let again = Commit { batch_id: self.clock.new_id(), ..commit.clone() };\n                \
             async move { self.main.commit(&again).await }\n            })\n            .await?;",
        suite: None,
    },
    Fault {
        name: "parquet-lower-bound",
        what: "plain Parquet: the start of a range is not compared with the position",
        file: PARQUET,
        from: "match positions.check(&one) {",
        to: "match positions.check(&OffsetRanges::default()) {",
        suite: None,
    },
    Fault {
        name: "parquet-overwrite",
        what: "plain Parquet: objects are overwritten instead of created",
        file: PARQUET,
        from: "PutMode::Create.into()",
        to: "PutMode::Overwrite.into()",
        suite: None,
    },
    Fault {
        name: "parquet-refused-landed",
        what: "plain Parquet: a refused range is taken for landed before",
        file: PARQUET,
        from: "match object::landed_before(&self.place, commit, partition, range).await? {",
        to: "match object::landed_before(&self.place, commit, partition, range).await? || true {",
        suite: None,
    },
    Fault {
        name: "parquet-name-by-end",
        what: "plain Parquet: an object is named by its end offset",
        file: OBJECT,
        from: "let path = path(place, chain, self.range().start());",
        to: "let path = path(place, chain, self.range().end());",
        suite: None,
    },
    Fault {
        name: "parquet-unknown-landed",
        what: "plain Parquet: a create whose outcome is unknown is taken for landed",
        file: OBJECT,
        from: "Ok(None) => pauses.wait_or(&place.clock, || place.lake.explain(&path, &error)).await?,",
        to: "Ok(None) => {\n                    let _ = (&error, &mut pauses);\n                    return Ok(Put::Landed);\n                }",
        suite: None,
    },
    Fault {
        name: "parquet-no-reread",
        what: "plain Parquet: a create that fails is not looked for",
        file: OBJECT,
        from: "Ok(Some(stored)) if stored == self.footer => return Ok(Put::Landed),",
        to: "Ok(Some(stored)) if stored == self.footer && false => return Ok(Put::Landed),",
        suite: Some(("table", "plain_parquet_in_a_folder")),
    },
    Fault {
        name: "parquet-delete-unknown",
        what: "plain Parquet: an object whose create failed is deleted",
        file: SMALL,
        from: "            Err(error) => error,\n        };",
        to: "            Err(error) => {\n                let _ = place.lake.store().delete(path).await;\n                error\n            }\n        };",
        suite: None,
    },
    Fault {
        name: "parquet-schema-lost",
        what: "plain Parquet: a schema another loader wrote first is taken for ours",
        file: KNOWN,
        from: "self.schema = Some((number, decode_schema(place, &path, &stored)?));\n        }\n        Ok(Err(",
        to: "let _ = stored;\n            self.schema = Some((number, merged));\n        }\n        Ok(Err(",
        suite: Some(("table", "plain_parquet_in_a_folder")),
    },
    Fault {
        name: "delta-lower-bound",
        what: "Delta: a range that begins at or below the position is committed (`>=` for `=`)",
        file: DELTA,
        from: "if let Err(refused) = known.positions(&commit.log).check(&commit.ranges) {",
        to: "let at = known.positions(&commit.log);\n            \
             if let Some((refused, _)) = commit.ranges.iter().find(|(p, r)| at.get(*p).is_none_or(|next| next < r.start())) {",
        suite: None,
    },
    Fault {
        name: "delta-fenced-landed",
        what: "Delta: a fenced batch is taken for landed",
        file: DELTA,
        from: "match known.has_batch(&self.place, commit).await? {",
        to: "match known.has_batch(&self.place, commit).await? || true {",
        suite: None,
    },
    Fault {
        name: "delta-no-reread",
        what: "Delta: a batch that landed although its answer was lost is not looked for",
        file: DELTA,
        from: "match known.has_batch(&self.place, commit).await? {",
        to: "match known.has_batch(&self.place, commit).await? && false {",
        suite: Some(("table-delta", "delta_in_a_folder")),
    },
    Fault {
        name: "delta-unknown-landed",
        what: "Delta: an entry whose create failed is taken for ours",
        file: PLACE,
        from: "Err(error) => Err(self.explain(&error.into())),",
        to: "Err(_) => Ok(Created::Ours),",
        suite: None,
    },
    Fault {
        name: "delta-exists-landed",
        what: "Delta: an entry of another is taken for ours",
        file: PLACE,
        from: "Err(TransactionError::VersionAlreadyExists(_)) => Ok(Created::Exists),",
        to: "Err(TransactionError::VersionAlreadyExists(_)) => Ok(Created::Ours),",
        suite: None,
    },
    Fault {
        name: "delta-delete-unknown",
        what: "Delta: an entry whose create failed is deleted",
        file: PLACE,
        from: "Err(error) => Err(self.explain(&error.into())),",
        to: "Err(error) => {\n                let path = self.path(&format!(\"_delta_log/{version:020}.json\"));\n                \
             let _ = self.lake.store().delete(&path).await;\n                Err(self.explain(&error.into()))\n            }",
        suite: None,
    },
    Fault {
        name: "delta-file-unstored",
        what: "Delta: a file whose upload failed is committed",
        file: PLACE,
        from: "let Err(error) = put else { return Ok(()) };",
        to: "let Err(error) = put else { return Ok(()) };\n            if error.to_string().contains(\"no answer\") {\n                return Ok(());\n            }",
        suite: None,
    },
    Fault {
        name: "delta-create-race",
        what: "Delta: after another's version ours is created behind it without checking anew (the hole of deltalake's retry)",
        file: WRITE,
        from: "taken = Some(version);",
        to: "taken = Some(version);\n                log.version = version;",
        suite: None,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::paths;

    #[test]
    fn every_fault_applies_to_the_code_as_it_is() {
        for fault in FAULTS {
            let text = std::fs::read_to_string(paths::root().join(fault.file)).unwrap();
            assert_ne!(fault.apply(&text).unwrap(), text, "{}", fault.name);
        }
        let names: BTreeSet<_> = FAULTS.iter().map(|fault| fault.name).collect();
        assert_eq!(names.len(), FAULTS.len(), "names are unique");
    }
}
