//! What this process has used, by thread name, from Linux's `/proc`.

use std::collections::BTreeMap;
use std::fs;

/// The kernel counts CPU time to programs in hundredths of a second on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds, user and system, of the threads alive, by the first 15 bytes of their name.
///
/// # Errors
/// There is no `/proc`.
pub fn cpu_seconds() -> std::io::Result<BTreeMap<String, f64>> {
    let mut by_name = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task")? {
        // A thread may end while it is looked at.
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else { continue };
        if let Some((name, seconds)) = parse(&stat) {
            *by_name.entry(name.to_owned()).or_default() += seconds;
        }
    }
    Ok(by_name)
}

/// Name and seconds of a line of `/proc/<pid>/task/<tid>/stat` (proc(5): `utime` and `stime` are fields 14 and 15, the
/// name is field 2, in brackets, and may hold anything).
fn parse(stat: &str) -> Option<(&str, f64)> {
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let mut times = rest.split_whitespace().skip(11).map_while(|ticks| ticks.parse::<u64>().ok());
    Some((name, (times.next()? + times.next()?) as f64 / TICKS_PER_SECOND))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let line = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0";
        assert_eq!(parse(line), Some(("a) b (c", 2.0)));
        assert!(!cpu_seconds().unwrap().is_empty());
    }
}
