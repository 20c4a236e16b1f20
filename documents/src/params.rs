//! Query parameters, read strictly: a misspelt filter that is ignored answers another question than the one that was put.

use tidemark_schemas::near;

use crate::problem::Problem;

/// The parameters of a query, by name.
#[derive(Debug)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Splits a raw query; every name must be one of `known`, once.
    pub(crate) fn parse(raw: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                return Err(unknown(&name, known));
            }
            if pairs.iter().any(|(there, _)| *there == name) {
                return Err(Problem::field(&name, format!("`{name}` is given twice"), "once"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self { pairs })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str())
    }

    /// A whole number from 1 to `max`.
    pub(crate) fn count(&self, name: &str, max: usize) -> Result<Option<usize>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(count) if (1..=max).contains(&count) => Ok(Some(count)),
            _ => Err(Problem::field(name, format!("`{name}` is {text:?}"), format!("a whole number from 1 to {max}"))),
        }
    }

    /// Hash of what is asked for, but where to go on and how much.
    pub(crate) fn question(&self) -> u64 {
        let mut pairs: Vec<_> =
            self.pairs.iter().filter(|(name, _)| !["cursor", "limit"].contains(&name.as_str())).collect();
        pairs.sort();
        tidemark_core::table::hash(format!("{pairs:?}").as_bytes())
    }
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let rule = if known.is_empty() { "no parameters".to_owned() } else { format!("one of {}", known.join(", ")) };
    let problem = Problem::field(name, format!("there is no parameter `{name}`"), rule);
    match near::near(name, known.iter().copied()) {
        Some(near) => problem.fix(format!("did you mean `{near}`?")),
        None => problem,
    }
}
