//! What is wrong with a job file, and where: `file:line:column: what; fix`.

use std::fmt;

/// A place in a file, both counted from 1; the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct At {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub at: At,
    /// What is wrong.
    pub what: String,
    /// What to do about it; empty when the first sentence says it.
    pub fix: String,
}

impl Problem {
    /// Without a fix.
    pub fn new(at: At, what: impl Into<String>) -> Self {
        Self { at, what: what.into(), fix: String::new() }
    }

    /// With a fix.
    #[must_use]
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: fix.into(), ..self }
    }

    /// Without its place.
    pub fn sentence(&self) -> String {
        if self.fix.is_empty() { self.what.clone() } else { format!("{}; {}", self.what, self.fix) }
    }
}

/// Everything that is wrong with a file, in its order; at least one.
#[derive(Clone, PartialEq, Eq)]
pub struct Problems {
    /// Name of the file.
    pub file: String,
    /// Its lines, to show those that are meant.
    lines: Vec<String>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Problems {
    /// Of `file` with this text.
    pub fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.at);
        problems.dedup();
        Self { file: file.to_owned(), lines: text.lines().map(str::to_owned).collect(), problems }
    }
}

impl std::error::Error for Problems {}

/// As it is displayed: what a test or a program gives back is printed like this.
impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Compilers' form: the place, then the line with a caret under the column.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            let at = problem.at;
            write!(f, "{}:{}:{}: {}", self.file, at.line, at.column, problem.sentence())?;
            if let Some(line) = at.line.checked_sub(1).and_then(|line| self.lines.get(line)) {
                write!(f, "\n    {line}\n    {:>column$}", "^", column = at.column)?;
            }
        }
        Ok(())
    }
}
