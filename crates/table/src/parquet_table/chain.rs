//! Names of the chains of a table: one of rows per log partition, and one of replays into it.

use event::{LogId, Offset, PartitionId};
use object_store::path::Path;

/// What files of replays begin with; those of the log begin with a digit.
const REPLAY: &str = "replay-";

/// One chain of files, each beginning where the one before ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChainId {
    pub(super) partition: PartitionId,
    /// Whether it counts replays ([`LogId::replays`]) and not offsets of the log.
    pub(super) of_replays: bool,
}

impl ChainId {
    pub(super) fn of(log: &LogId, partition: PartitionId) -> Self {
        Self { partition, of_replays: log.is_replays() }
    }

    fn prefix(self) -> &'static str {
        if self.of_replays { REPLAY } else { "" }
    }

    /// Name of the file that begins at `start`, in the folder of its partition.
    pub(super) fn file_name(self, start: Offset) -> String {
        format!("{}{:020}.parquet", self.prefix(), start.0)
    }

    /// Name of the object that says where the chain begins.
    pub(super) fn start_name(self) -> String {
        format!("{}p={}.json", self.prefix(), self.partition)
    }

    /// The chain whose [`ChainId::start_name`] is `name`.
    pub(super) fn parse_start(name: &str) -> Option<Self> {
        let name = name.strip_suffix(".json")?;
        let rest = name.strip_prefix(REPLAY);
        let partition = partition_of(rest.unwrap_or(name))?;
        Some(Self { partition, of_replays: rest.is_some() })
    }

    /// Chain and start in `…/p=<p>/<s:020>.parquet` or `…/p=<p>/replay-<n:020>.parquet`.
    pub(super) fn parse_file(path: &Path) -> Option<(Self, Offset)> {
        let name = path.filename()?.strip_suffix(".parquet")?;
        let rest = name.strip_prefix(REPLAY);
        let digits = rest.unwrap_or(name);
        let start = (digits.len() == 20).then(|| digits.parse().ok()).flatten()?;
        let parts: Vec<_> = path.parts().collect();
        let folder = parts.len().checked_sub(2).map(|index| &parts[index])?;
        let partition = partition_of(folder.as_ref())?;
        Some((Self { partition, of_replays: rest.is_some() }, Offset(start)))
    }
}

fn partition_of(name: &str) -> Option<PartitionId> {
    name.strip_prefix("p=")?.parse().ok().map(PartitionId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_are_taken_for_files_of_a_chain() {
        let parse = |path: &str| ChainId::parse_file(&Path::from(path));
        let chain = |of_replays| ChainId { partition: PartitionId(7), of_replays };
        assert_eq!(parse("t/data/p=7/00000000000000000042.parquet"), Some((chain(false), Offset(42))));
        assert_eq!(parse("t/data/p=7/replay-00000000000000000001.parquet"), Some((chain(true), Offset(1))));
        assert_eq!(parse("t/data/p=7/42.parquet"), None);
        assert_eq!(parse("t/data/p=7/replay-42.parquet"), None);
        assert_eq!(parse("t/data/p=x/00000000000000000042.parquet"), None);
        assert_eq!(parse("00000000000000000042.parquet"), None);
        assert_eq!(parse("t/data/p=7/00000000000000000042.parquet.tmp"), None);
    }

    #[test]
    fn a_chain_is_named_so_that_it_is_found_again() {
        for of_replays in [false, true] {
            let chain = ChainId { partition: PartitionId(3), of_replays };
            assert_eq!(ChainId::parse_start(&chain.start_name()), Some(chain));
            let path = Path::from(format!("t/data/p=3/{}", chain.file_name(Offset(9))));
            assert_eq!(ChainId::parse_file(&path), Some((chain, Offset(9))));
        }
        assert_eq!(ChainId::parse_start("p=3"), None);
    }
}
