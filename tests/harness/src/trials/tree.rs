//! A copy of the tree to change at will, with a target directory of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, root};

/// The copy: `target/mutants/tree`.
pub(super) struct Tree {
    dir: PathBuf,
}

impl Tree {
    /// Makes it equal to the tree as it is now, files that are not committed included. Files that are equal stay untouched,
    /// so that little is compiled again.
    pub(super) fn copy() -> Result<Self, Error> {
        let tree = Self { dir: root().join("target/mutants/tree") };
        let wanted = listed()?;
        for file in &wanted {
            tree.take(file)?;
        }
        tree.remove_all_but(&wanted)?;
        let (tools, link) = (root().join(".tools"), tree.dir.join(".tools"));
        if tools.is_dir() && !link.exists() {
            std::os::unix::fs::symlink(tools, &link).map_err(Error::io(link.display()))?;
        }
        Ok(tree)
    }

    fn take(&self, file: &str) -> Result<(), Error> {
        let (from, to) = (root().join(file), self.dir.join(file));
        let new = std::fs::read(&from).map_err(Error::io(from.display()))?;
        if std::fs::read(&to).is_ok_and(|old| old == new) {
            return Ok(());
        }
        let parent = to.parent().unwrap_or(&self.dir);
        std::fs::create_dir_all(parent).map_err(Error::io(parent.display()))?;
        // Copied with its mode: scripts are run.
        std::fs::copy(&from, &to).map(drop).map_err(Error::io(to.display()))
    }

    fn remove_all_but(&self, wanted: &BTreeSet<String>) -> Result<(), Error> {
        let mut dirs = vec![self.dir.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(&dir).map_err(Error::io(dir.display()))?.filter_map(Result::ok) {
                let path = entry.path();
                let name = path.strip_prefix(&self.dir).unwrap_or(&path).display().to_string();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => dirs.push(path),
                    Ok(kind) if kind.is_file() && !wanted.contains(&name) => {
                        std::fs::remove_file(&path).map_err(Error::io(path.display()))?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// A file of the copy.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A shell command in the copy, with the copy's own target directory, ended after `seconds`.
    pub(super) fn command(&self, line: &str, seconds: u32) -> Command {
        let mut command = Command::new("timeout");
        command.args([&seconds.to_string(), "sh", "-c", line]).current_dir(&self.dir);
        command.env("CARGO_TARGET_DIR", root().join("target/mutants/target"));
        command
    }
}

/// Every file that is committed or could be.
fn listed() -> Result<BTreeSet<String>, Error> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).current_dir(root());
    let output = git.output().map_err(Error::io("git ls-files"))?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let there = |name: &&str| !name.is_empty() && Path::new(root()).join(name).is_file();
    Ok(names.split('\0').filter(there).map(str::to_owned).collect())
}
