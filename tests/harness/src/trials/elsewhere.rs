//! Faults that another test proves already: named in the table with the command, which `make faults` runs as well.

use std::process::Command;

use serde::Deserialize;

use super::{Error, clear, root, save, stamp};

/// The list, relative to the workspace.
const LIST: &str = "tests/faults/elsewhere.toml";

/// A fault and the command that proves the code against it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    fault: String,
    command: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    proof: Vec<Proof>,
}

/// Runs those whose fault contains `only`, writes a result for each, and says whether all passed.
///
/// # Errors
/// The list is not there or not of its form.
pub fn run(only: &str) -> Result<bool, Error> {
    let text = std::fs::read_to_string(root().join(LIST)).map_err(Error::io(LIST))?;
    let list: List = toml::from_str(&text).map_err(|error| Error::list(LIST, error))?;
    let mut all = true;
    if only.is_empty() {
        clear("elsewhere-");
    }
    for Proof { fault, command } in list.proof.iter().filter(|proof| proof.fault.contains(only)) {
        let output = Command::new("sh").args(["-c", command]).current_dir(root()).output();
        let output = output.map_err(Error::io(command))?;
        // A filter that fits no test passes with none.
        let ran: u64 = passed(&String::from_utf8_lossy(&output.stdout));
        let exact = output.status.success() && ran > 0;
        all &= exact;
        eprintln!("{fault}: {} ({ran} tests)", if exact { "passed" } else { "FAILED" });
        let result = serde_json::json!({
            "fault": fault, "command": command, "tests": ran, "passed": exact, "stamp": stamp(),
        });
        save(&format!("elsewhere-{}", fault.replace(|c: char| !c.is_alphanumeric(), "-")), &result)?;
    }
    Ok(all)
}

/// Tests that passed, over all test binaries.
fn passed(text: &str) -> u64 {
    let counts = text.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
    counts.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn tests_are_counted_over_binaries() {
        let text = "test result: ok. 3 passed; 0 failed\nx\ntest result: ok. 4 passed; 0 failed\n";
        assert_eq!(super::passed(text), 7);
    }
}
