//! The servers' jars: fetched by Maven once, kept under `.tools/servers/<name>-<version>/`.
//!
//! The one place that pins the servers' versions. A directory is complete or absent: jars are copied beside it and renamed into
//! place, under a lock file, so that any number of test processes may ask at once.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

/// A server that Maven Central has as jars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jars {
    /// Directory under `tests/harness/servers/` that has its `pom.xml`.
    pub name: &'static str,
    /// Pinned version.
    pub version: &'static str,
    /// Goal of Maven's dependency plugin that brings it.
    goal: &'static str,
}

/// The broker and its command-line tools.
pub const KAFKA: Jars = Jars { name: "kafka", version: "4.1.2", goal: "copy-dependencies" };
/// The CQL store.
pub const CASSANDRA: Jars = Jars { name: "cassandra", version: "5.0.9", goal: "copy-dependencies" };
/// The schema registry.
pub const REGISTRY: Jars = Jars { name: "registry", version: "2.6.13.Final", goal: "unpack-dependencies" };

impl Jars {
    /// Whether they have been fetched.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.dir().is_dir()
    }

    fn dir(&self) -> PathBuf {
        tools_dir().join(format!("{}-{}", self.name, self.version))
    }

    /// The directory with the jars; fetches them when it is not there (a minute or two, once).
    ///
    /// # Errors
    /// Java or Maven is missing, or Maven cannot fetch.
    pub fn ensure(&self) -> Result<PathBuf, Error> {
        let dir = self.dir();
        if dir.is_dir() {
            return Ok(dir);
        }
        std::fs::create_dir_all(tools_dir()).map_err(Error::io("creating", tools_dir()))?;
        let lock_path = tools_dir().join(format!(".{}.lock", self.name));
        let lock = File::create(&lock_path).map_err(Error::io("creating", &lock_path))?;
        lock.lock().map_err(Error::io("locking", &lock_path))?;
        if !dir.is_dir() {
            self.fetch(&dir)?;
        }
        Ok(dir)
    }

    fn fetch(&self, dir: &Path) -> Result<(), Error> {
        java()?;
        let mvn = find("mvn").ok_or(Error::MissingProgram { program: "mvn", package: "maven" })?;
        let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers").join(self.name).join("pom.xml");
        let part = tempfile::tempdir_in(tools_dir()).map_err(Error::io("creating", tools_dir()))?;
        let output = Command::new(&mvn)
            .args(["-q", "-B", "-Dstyle.color=never", "-f"])
            .arg(pom)
            .arg(format!("dependency:{}", self.goal))
            .arg(format!("-Dserver.version={}", self.version))
            .arg(format!("-DoutputDirectory={}", part.path().display()))
            // Beside the pom by default, where they would keep an unpacked archive from being unpacked again.
            .arg(format!("-DmarkersDirectory={}", part.path().join(".markers").display()))
            .output()
            .map_err(Error::io("running", mvn))?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stdout).into_owned();
            return Err(Error::Fetch { server: self.name, version: self.version, output });
        }
        std::fs::rename(part.keep(), dir).map_err(Error::io("creating", dir))
    }

    /// The class path of all its jars.
    pub(crate) fn class_path(&self) -> Result<String, Error> {
        Ok(self.ensure()?.join("*").display().to_string())
    }
}

/// The Java launcher: of `JAVA_HOME` when set, else the first on the `PATH`.
///
/// # Errors
/// Neither has one.
pub fn java() -> Result<PathBuf, Error> {
    let home = std::env::var_os("JAVA_HOME").map(|h| Path::new(&h).join("bin/java")).filter(|p| p.is_file());
    home.or_else(|| find("java")).ok_or(Error::MissingProgram { program: "java", package: "openjdk-17-jre-headless" })
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| p.is_file())
}

fn tools_dir() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    workspace.unwrap_or(Path::new(".")).join(".tools/servers")
}
