//! Whether as many rows and dead letters are there as the commits say they brought.

use event::{Offset, OffsetRange, PartitionId, limits};

use crate::chain::{Chains, Told};
use crate::files::Which;
use crate::report::{Kind, Problem, Problems};
use crate::seen::Seen;

/// The tables of a stream against what is seen of them.
#[derive(Debug)]
pub(crate) struct Counts<'a> {
    pub(crate) main: &'a Chains,
    pub(crate) dead: &'a Chains,
    pub(crate) seen: &'a Seen,
    pub(crate) main_name: &'a str,
    pub(crate) dead_name: &'a str,
}

impl Counts<'_> {
    pub(crate) fn check(&self, problems: &mut Problems) {
        for told in &self.main.told {
            let rows: u64 = told.ranges.iter().map(|(p, range)| self.seen.rows_in(*p, *range)).sum();
            self.compare(problems, told, self.main_name, Kind::RowsMissing, told.row_count, rows);
            let dead: u64 = told.ranges.iter().map(|(p, range)| self.seen.dead_in(*p, *range)).sum();
            self.compare(problems, told, self.dead_name, Kind::DeadMissing, told.dead_count, dead);
        }
        for told in &self.dead.told {
            let dead: u64 = told.ranges.iter().map(|(p, range)| self.seen.dead_in(*p, *range)).sum();
            self.compare(problems, told, self.dead_name, Kind::DeadMissing, told.row_count, dead);
        }
        self.outside(problems, Which::Rows);
        self.outside(problems, Which::Dead);
        self.replays(problems);
    }

    fn compare(
        &self,
        problems: &mut Problems,
        told: &Told,
        table: &str,
        missing: Kind,
        said: u64,
        found: u64,
    ) {
        if said == found {
            return;
        }
        let what = if missing == Kind::RowsMissing { "rows" } else { "dead letters" };
        let of = |(p, range): &(PartitionId, OffsetRange)| format!("{range} of partition {p}");
        let ranges: Vec<_> = told.ranges.iter().map(of).collect();
        let by_others = if self.main.changed_by_others || self.dead.changed_by_others {
            "; another program says it changed rows, see the notes"
        } else {
            ""
        };
        let text = format!(
            "a commit of {} brought {said} {what}, and there are {found}{by_others}",
            ranges.join(" and ")
        );
        let kind = if found < said { missing } else { Kind::RowsUnexpected };
        let problem = |text: String| {
            let problem = Problem::new(kind, table, text).version(told.version);
            told.file.iter().fold(problem, |problem, file| problem.file(file))
        };
        if kind == Kind::RowsUnexpected {
            return problems.push(problem(text));
        }
        let covered: u64 = told.ranges.iter().map(|(_, range)| range.offset_count()).sum();
        let dense = told.row_count + told.dead_count == covered && table == self.main_name;
        let which = if dense { "these are missing" } else { "missing are some of these" };
        for (partition, range) in &told.ranges {
            let holes = self.seen.holes(*partition, *range);
            if !holes.is_empty() {
                problems.push(problem(format!("{text}; {which}")).at(*partition, holes));
            }
        }
    }

    /// What lies before a chain's first or behind its last offset.
    fn outside(&self, problems: &mut Problems, which: Which) {
        let (sets, chains, table) = match which {
            Which::Rows => (&self.seen.rows, self.main, self.main_name),
            Which::Dead => (&self.seen.dead, self.dead, self.dead_name),
        };
        for (partition, set) in sets {
            let chain = chains.of_log().find(|(of, _)| of == partition).map(|(_, chain)| chain);
            let (first, next) = chain.map_or((Offset::ZERO, Offset::ZERO), |chain| (chain.first, chain.next));
            let before = OffsetRange::new(Offset::ZERO, first);
            let behind = OffsetRange::new(next, Offset(u64::MAX));
            let outside = [before, behind].map(|range| set.runs(range, limits::VERIFY_TOLD_MAX)).concat();
            if !outside.is_empty() {
                let text = format!("no commit covers these offsets of partition {partition}");
                problems.push(Problem::new(Kind::RowsUnexpected, table, text).at(*partition, outside));
            }
        }
    }

    fn replays(&self, problems: &mut Problems) {
        let (said, found) = (self.main.replayed_count, self.seen.replayed_count);
        if said != found {
            let kind = if found < said { Kind::RowsMissing } else { Kind::RowsUnexpected };
            let text = format!("replays landed {said} rows, and there are {found}");
            problems.push(Problem::new(kind, self.main_name, text));
        }
        for (partition, offset) in self.seen.replayed.keys().take(limits::VERIFY_TOLD_MAX) {
            let text = format!("row {partition}:{offset} was replayed, and its dead letter is not there");
            let range = OffsetRange::new(*offset, offset.next());
            problems.push(Problem::new(Kind::DeadMissing, self.dead_name, text).at(*partition, [range]));
        }
        for (partition, wrong) in &self.seen.replayed_wrong {
            let text = format!("replayed rows of partition {partition} are not what their dead letters hold");
            let problem = Problem::new(Kind::Changed, self.main_name, text);
            problems.push(problem.at(*partition, wrong.clone().into_vec()));
        }
    }
}
