//! What the process has used so far, where the system tells (`/proc`, Linux).

/// CPU time at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    cpu_ticks: Option<u64>,
}

/// `/proc` counts CPU time in hundredths of a second on every Linux (USER_HZ, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

impl Usage {
    pub(super) fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").ok();
        Self { cpu_ticks: stat.as_deref().and_then(cpu_ticks) }
    }

    /// CPU seconds, user and system, of all threads since `earlier`.
    pub(super) fn cpu_seconds_since(&self, earlier: &Self) -> Option<f64> {
        let ticks = self.cpu_ticks?.saturating_sub(earlier.cpu_ticks?);
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        Some(ticks as f64 / TICKS_PER_SECOND)
    }
}

/// Fields 14 and 15, counted behind the command's name, which may hold anything but `)`.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// The most memory the process has had resident.
pub(super) fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_command_name_with_a_space() {
        let stat = "7 (a b) S 1 1 1 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 8 0 1 1 1";
        assert_eq!(cpu_ticks(stat), Some(300));
    }
}
