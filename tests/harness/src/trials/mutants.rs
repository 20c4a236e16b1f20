//! Mutation checks: one rule of the code is switched off at a time, and a named test must go red for it, by that test's own
//! failure and not because the code does not compile.

use serde::Deserialize;

use super::tree::Tree;
use super::{Error, clear, root, save, stamp};

/// The list, relative to the workspace.
const LIST: &str = "tests/mutants/mutants.toml";
/// Build and test of one mutant.
const SECONDS_MAX: u32 = 900;

/// A change that a test must notice.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// What is switched off.
    pub rule: String,
    /// File, relative to the workspace.
    pub file: String,
    /// Text that occurs once in it.
    pub find: String,
    /// What it is replaced by.
    pub replace: String,
    /// Shell command that runs the test.
    pub command: String,
    /// Name of the test that must fail, as the test runner prints it.
    pub red: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Mutant>,
}

/// What a run of a test came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Green,
    Red,
    /// It did not compile, ran into its time limit, or did not run the test.
    Neither,
}

/// Reads the list.
///
/// # Errors
/// It is not there, or an entry is not of its form.
pub fn list() -> Result<Vec<Mutant>, Error> {
    let text = std::fs::read_to_string(root().join(LIST)).map_err(Error::io(LIST))?;
    let list: List = toml::from_str(&text).map_err(|error| Error::list(LIST, error))?;
    Ok(list.mutant)
}

/// The entries that do not fit the code any more: their text must occur exactly once.
///
/// # Errors
/// A file cannot be read.
pub fn misfits(mutants: &[Mutant]) -> Result<Vec<String>, Error> {
    let mut misfits = Vec::new();
    for Mutant { rule, file, find, replace, .. } in mutants {
        let text = std::fs::read_to_string(root().join(file)).map_err(Error::io(file))?;
        let count = text.matches(find.as_str()).count();
        if count != 1 || find == replace {
            misfits.push(format!("{rule}: its text occurs {count} times in {file}"));
        }
    }
    Ok(misfits)
}

/// Tries those whose rule contains `only`, writes a result for each, and says whether all were noticed.
///
/// # Errors
/// The list does not fit the code, or a copy of the tree cannot be made.
pub fn run(only: &str) -> Result<bool, Error> {
    let mutants: Vec<Mutant> = list()?.into_iter().filter(|mutant| mutant.rule.contains(only)).collect();
    if let Some(misfit) = misfits(&mutants)?.first() {
        return Err(Error::list(LIST, misfit));
    }
    let tree = Tree::copy()?;
    if only.is_empty() {
        clear("mutant-");
    }
    let mut all = true;
    let mut green: Vec<&str> = Vec::new();
    for mutant in &mutants {
        let mut outcome = Outcome::Green;
        if !green.contains(&mutant.command.as_str()) {
            outcome = test(&tree, mutant)?;
            green.push(&mutant.command);
        }
        let noticed = outcome == Outcome::Green && tried(&tree, mutant)? == Outcome::Red;
        all &= noticed;
        let said = if noticed { "red, as it must be" } else { "NOT NOTICED" };
        eprintln!("mutant: {}: {} is {said} (green before: {outcome:?})", mutant.rule, mutant.red);
        let Mutant { rule, file, red, command, .. } = mutant;
        let result = serde_json::json!({
            "rule": rule, "file": file, "red": red, "command": command, "noticed": noticed, "stamp": stamp(),
        });
        save(&format!("mutant-{}", rule.replace(|c: char| !c.is_alphanumeric(), "-")), &result)?;
    }
    Ok(all)
}

/// Applies a mutant, runs its test, and takes it back.
fn tried(tree: &Tree, mutant: &Mutant) -> Result<Outcome, Error> {
    let path = tree.file(&mutant.file);
    let text = std::fs::read_to_string(&path).map_err(Error::io(path.display()))?;
    let write = |text: &str| std::fs::write(&path, text).map_err(Error::io(path.display()));
    write(&text.replacen(&mutant.find, &mutant.replace, 1))?;
    let outcome = test(tree, mutant);
    write(&text)?;
    outcome
}

fn test(tree: &Tree, mutant: &Mutant) -> Result<Outcome, Error> {
    let output = tree.command(&mutant.command, SECONDS_MAX).output().map_err(Error::io(&mutant.command))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let outcome = outcome(&text, &mutant.red, output.status.success());
    if outcome == Outcome::Neither {
        eprintln!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(outcome)
}

/// What the test runner's standard output says of a test.
fn outcome(text: &str, test: &str, success: bool) -> Outcome {
    let said = |verdict: &str| text.lines().any(|line| line == format!("test {test} ... {verdict}"));
    match (said("ok"), said("FAILED"), success) {
        (true, false, true) => Outcome::Green,
        (false, true, false) => Outcome::Red,
        _ => Outcome::Neither,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn red_is_the_failure_of_that_test_alone() {
        let failed = "running 2 tests\ntest a::b ... FAILED\ntest c ... ok\n";
        assert_eq!(outcome(failed, "a::b", false), Outcome::Red);
        assert_eq!(outcome("test a::b ... ok\n", "a::b", true), Outcome::Green);
        // Another test, one that was not run, one that did not compile.
        assert_eq!(outcome(failed, "c", false), Outcome::Neither);
        assert_eq!(outcome("running 0 tests\n", "a::b", true), Outcome::Neither);
        assert_eq!(outcome("", "a::b", false), Outcome::Neither);
    }
}
