//! Asking a running platform over HTTP.

use anyhow::Context;
use serde_json::Value;
use std::time::Duration;

/// A topic or a job may have to wait for leaders.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Which platform, and as whom.
#[derive(Debug, Clone, clap::Args)]
pub struct Remote {
    /// Where `tidemark up`, or a part of it, is.
    #[arg(
        long,
        env = "TIDEMARK_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    url: String,
    /// A token for it, if it asks for one: to change anything, with the role admin.
    #[arg(long, env = "TIDEMARK_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
}

impl Remote {
    /// With the token of the environment, if there is one.
    pub fn to(url: &str) -> Self {
        Self { url: url.to_owned(), token: std::env::var("TIDEMARK_TOKEN").ok() }
    }

    /// Without a slash at the end.
    pub fn base(&self) -> &str {
        self.url.trim_end_matches('/')
    }

    /// Reads.
    ///
    /// # Errors
    /// It cannot be reached, or says no.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.read(self.authorized(agent().get(format!("{}{path}", self.base()))).call())
    }

    /// Writes JSON.
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub fn send(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.base());
        let request = if method == "PUT" { agent().put(url) } else { agent().post(url) };
        let request = self.authorized(request).header("content-type", "application/json");
        self.read(request.send(body.to_string()))
    }

    /// Posts JSON and hands over the lines of the answer as they come, each a JSON value. It may take as long as it takes.
    ///
    /// # Errors
    /// As [`Remote::get`]; the answer breaks off.
    pub fn lines(&self, path: &str, body: &Value, on_line: &mut dyn FnMut(&Value)) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.base());
        let request = self.authorized(agent_for(None).post(url)).header("content-type", "application/json");
        self.each_line(request.send(body.to_string()), on_line)
    }

    /// As [`Remote::lines`], and asks for them without a body.
    ///
    /// # Errors
    /// As [`Remote::lines`].
    pub fn get_lines(&self, path: &str, on_line: &mut dyn FnMut(&Value)) -> anyhow::Result<()> {
        self.each_line(self.authorized(agent_for(None).get(format!("{}{path}", self.base()))).call(), on_line)
    }

    fn each_line(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
        on_line: &mut dyn FnMut(&Value),
    ) -> anyhow::Result<()> {
        let answer = match answer {
            Ok(answer) if answer.status().is_success() => answer,
            other => return self.read(other).map(|_| ()),
        };
        let lines = std::io::BufReader::new(answer.into_body().into_reader());
        for line in std::io::BufRead::lines(lines) {
            let line = line.with_context(|| format!("the answer of {} broke off", self.base()))?;
            on_line(&serde_json::from_str(&line).unwrap_or_default());
        }
        Ok(())
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    /// The answer's body; an answer that says no is an error in its own words.
    fn read(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Value> {
        let base = self.base();
        let mut answer = answer.map_err(|error| Unreachable(base.to_owned(), error.to_string()))?;
        let status = answer.status();
        let body = answer.body_mut().read_to_string().with_context(|| format!("the answer of {base} broke off"))?;
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        if status.is_success() && body.is_object() {
            return Ok(body);
        }
        let told = |key: &str| body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        match (told("detail"), told("fix")) {
            (Some(detail), Some(fix)) => anyhow::bail!("{detail}; {fix}"),
            (Some(detail), None) => anyhow::bail!("{detail}"),
            _ => anyhow::bail!("{base} answered {status}, which is not the answer of a platform; check --url"),
        }
    }
}

fn agent() -> ureq::Agent {
    agent_for(Some(TIMEOUT))
}

/// An answer may take so long.
fn agent_for(timeout: Option<Duration>) -> ureq::Agent {
    // No proxy: a platform on this machine is not to be asked for through one.
    ureq::Agent::config_builder().timeout_global(timeout).http_status_as_error(false).proxy(None).build().into()
}

/// Nobody is there.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach a platform at {0}: {1}; start one with `tidemark up`, or give its address with --url")]
pub struct Unreachable(String, String);

/// A path segment: everything but unreserved characters (RFC 3986) is percent-encoded.
pub fn escaped(segment: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    segment.bytes().map(escape).collect()
}
