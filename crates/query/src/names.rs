//! Names as people write them: any case, and the nearest name when there is none.
//!
//! Case is folded as the decoder folds it, which never makes two columns that differ by case alone.

use decode::columns::fold;

/// Likeness below which a suggestion would confuse more than it helps (Jaro-Winkler, 0 to 1).
const LIKENESS_MIN: f64 = 0.75;

/// The candidate most like `name`, if one is like it at all.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    candidates
        .map(|candidate| (strsim::jaro_winkler(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// The name meant by an unquoted `word`: itself if there is such a name, else the only one that
/// differs by case alone.
pub(crate) fn resolve<'a>(word: &str, mut names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    if let Some(exact) = names.clone().find(|name| *name == word) {
        return Some(exact);
    }
    let folded = fold(word);
    let found = names.find(|name| fold(name) == folded)?;
    let unique = names.all(|name| name == found || fold(name) != folded);
    unique.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_finds_its_column() {
        let columns = ["keyword", "region", "userId", "_received_at"];
        assert_eq!(nearest("keywrd", columns.into_iter()), Some("keyword"));
        assert_eq!(nearest("user_id", columns.into_iter()), Some("userId"));
        assert_eq!(nearest("received_at", columns.into_iter()), Some("_received_at"));
        assert_eq!(nearest("zzz", columns.into_iter()), None);
    }

    #[test]
    fn case_decides_only_between_names_that_differ_by_it() {
        let names = ["userId", "Total", "total"];
        assert_eq!(resolve("USERID", names.into_iter()), Some("userId"));
        assert_eq!(resolve("Total", names.into_iter()), Some("Total"));
        assert_eq!(resolve("TOTAL", names.into_iter()), None);
        assert_eq!(resolve("other", names.into_iter()), None);
    }
}
