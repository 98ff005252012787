//! What a stage counted, and the closing line.

use std::ops::AddAssign;

/// Tests by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Held.
    pub passed: u64,
    /// Did not hold, or could not run.
    pub failed: u64,
    /// Were left out.
    pub skipped: u64,
}

impl Tally {
    /// A stage that is one test.
    pub fn one(passed: bool) -> Self {
        Self { passed: passed.into(), failed: (!passed).into(), skipped: 0 }
    }

    /// What a line of output counts: the closing line of `cargo test` or of pytest; any other counts nothing.
    pub fn read(line: &str) -> Self {
        let summary = match line.trim_matches(|c: char| c == '=' || c.is_whitespace()) {
            cargo if cargo.starts_with("test result: ") => cargo,
            pytest if line.starts_with("==") && pytest.contains(" in ") => pytest,
            _ => return Self::default(),
        };
        let words: Vec<&str> = summary.split([' ', ',', ';', '.']).filter(|word| !word.is_empty()).collect();
        let mut tally = Self::default();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" | "xpassed" => tally.passed += count,
                "failed" | "error" | "errors" => tally.failed += count,
                "ignored" | "skipped" | "xfailed" => tally.skipped += count,
                _ => {}
            }
        }
        tally
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// How one stage ended.
#[derive(Debug)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// What it counted.
    pub tally: Tally,
    /// How long it took.
    pub seconds: u64,
}

/// A table of the stages, and the line that says it all.
pub fn summary(stages: &[Stage]) -> String {
    let mut text = String::new();
    let mut total = Tally::default();
    for Stage { name, tally, seconds } in stages {
        total += *tally;
        let Tally { passed, failed, skipped } = tally;
        text += &format!("{name:8} {passed:5} passed {failed:5} failed {skipped:5} skipped {seconds:6} s\n");
    }
    let Tally { passed, failed, skipped } = total;
    text + &format!("laker: {passed} passed, {failed} failed, {skipped} skipped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_lines_of_cargo_and_pytest_are_counted() {
        let cargo = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 1.20s";
        assert_eq!(Tally::read(cargo), Tally { passed: 12, failed: 1, skipped: 2 });
        let pytest = "====== 1 failed, 7 passed, 2 skipped, 1 error in 61.22s (0:01:01) ======";
        assert_eq!(Tally::read(pytest), Tally { passed: 7, failed: 2, skipped: 2 });
    }

    #[test]
    fn other_lines_count_nothing() {
        for line in
            ["test tests::x ... ok", "3 passed", "== short test summary info ==", "", "FAILED 3 failed in x"]
        {
            assert_eq!(Tally::read(line), Tally::default(), "{line}");
        }
    }

    #[test]
    fn the_last_line_sums_all_stages() {
        let stage = |name, tally| Stage { name, tally, seconds: 1 };
        let text = summary(&[
            stage("fmt", Tally::one(true)),
            stage("rust", Tally { passed: 10, failed: 1, skipped: 0 }),
        ]);
        assert_eq!(text.lines().last(), Some("laker: 11 passed, 1 failed, 0 skipped"));
    }
}
