//! Where to go on, from what disk and log say.

use event::{Offset, OffsetRange};

/// Why nobody can say where to go on without losing or doubling events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// The log has more of the spool than the spool has.
    #[error(
        "the log has this spool's events up to offset {committed}, but its folder holds [{first}, {next}): \
         the folder was copied, or put back from an older copy"
    )]
    Ahead {
        /// What the log says.
        committed: Offset,
        /// First offset of the folder.
        first: Offset,
        /// Next offset of the folder.
        next: Offset,
    },
    /// The log has forgotten how far it had come.
    #[error(
        "forwarding of [{first}, {next}) had begun, but the log no longer knows how far it had come \
         (it says {}): its group's offsets expired, were deleted or were reset",
        committed.map_or("nothing".to_owned(), |offset| offset.to_string())
    )]
    Lost {
        /// What the log says.
        committed: Option<Offset>,
        /// First offset of the folder.
        first: Offset,
        /// Next offset of the folder.
        next: Offset,
    },
}

/// The offset to forward next. `held` is what the folder has; everything below it is in the log.
/// `committed` is the log's position; `begun` whether it was put there since the folder was last empty.
///
/// # Errors
/// [`Doubt`], when going on would be a guess.
pub fn resume_at(held: OffsetRange, committed: Option<Offset>, begun: bool) -> Result<Offset, Doubt> {
    let (first, next) = (held.start(), held.end());
    match committed {
        Some(committed) if committed > next => Err(Doubt::Ahead { committed, first, next }),
        Some(committed) if committed >= first && begun => Ok(committed),
        Some(committed) if committed > first => Err(Doubt::Ahead { committed, first, next }),
        // A position from before the folder was last empty, or none: it expires while nothing is spooled.
        _ if !begun || held.is_empty() => Ok(first),
        committed => Err(Doubt::Lost { committed, first, next }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resume(held: (u64, u64), committed: Option<u64>, begun: bool) -> Result<u64, Doubt> {
        let held = OffsetRange::new(Offset(held.0), Offset(held.1));
        resume_at(held, committed.map(Offset), begun).map(|offset| offset.0)
    }

    #[test]
    fn a_first_outage_begins_where_the_folder_does() {
        assert_eq!(resume((0, 9), None, false), Ok(0));
        assert_eq!(resume((20, 29), Some(20), false), Ok(20));
        // The group's offsets expire while there is no outage.
        assert_eq!(resume((20, 29), None, false), Ok(20));
        assert_eq!(resume((20, 29), Some(5), false), Ok(20));
    }

    #[test]
    fn a_crash_while_forwarding_goes_on_at_the_logs_position() {
        for committed in [20, 25, 29] {
            assert_eq!(resume((20, 29), Some(committed), true), Ok(committed));
        }
    }

    #[test]
    fn a_crash_after_the_folder_was_emptied_needs_no_position() {
        assert_eq!(resume((29, 29), None, true), Ok(29));
        assert_eq!(resume((29, 29), Some(29), true), Ok(29));
    }

    #[test]
    fn a_position_that_is_gone_is_not_guessed() {
        assert!(matches!(resume((20, 29), None, true), Err(Doubt::Lost { .. })));
        assert!(matches!(resume((20, 29), Some(19), true), Err(Doubt::Lost { .. })));
    }

    #[test]
    fn a_folder_behind_the_log_is_not_believed() {
        assert!(matches!(resume((20, 29), Some(30), true), Err(Doubt::Ahead { .. })));
        assert!(matches!(resume((20, 29), Some(30), false), Err(Doubt::Ahead { .. })));
        assert!(matches!(resume((20, 29), Some(21), false), Err(Doubt::Ahead { .. })));
    }
}
