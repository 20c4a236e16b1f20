//! The shipped binary as a child process, and HTTP to it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running `tidemark`. Dropping it kills it.
pub struct Tidemark {
    child: Child,
    pub url: String,
    log: std::path::PathBuf,
}

/// How long anything here may take before the test fails.
pub const DEADLINE: Duration = Duration::from_secs(90);

impl Tidemark {
    /// Starts it with these arguments on a free port and waits until it is ready.
    pub fn start(data_dir: &Path, args: &[&str]) -> Self {
        let mut started = Self::spawn(data_dir, args);
        started.wait_ready();
        started
    }

    /// Starts it on an address that is known, and waits until it is ready.
    pub fn start_at(data_dir: &Path, args: &[&str], address: &str) -> Self {
        let mut started = Self::spawn_at(data_dir, args, &[], address);
        started.wait_ready();
        started
    }

    /// Starts it and does not wait.
    pub fn spawn(data_dir: &Path, args: &[&str]) -> Self {
        Self::spawn_with(data_dir, args, &[])
    }

    /// Starts it with variables in its environment and does not wait.
    pub fn spawn_with(data_dir: &Path, args: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::spawn_at(data_dir, args, environment, &format!("127.0.0.1:{}", tidemark_harness::free_port().unwrap()))
    }

    fn spawn_at(data_dir: &Path, args: &[&str], environment: &[(&str, &str)], address: &str) -> Self {
        let log = data_dir.with_extension(format!("{}.log", address.rsplit(':').next().unwrap()));
        let stderr = std::fs::File::create(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tidemark"))
            .args(args)
            .args(["--listen", address, "--data-dir"])
            .arg(data_dir)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Self { child, url: format!("http://{address}"), log }
    }

    pub fn wait_ready(&mut self) {
        let began = Instant::now();
        loop {
            let health = get(&format!("{}/v1/health", self.url));
            if health.as_ref().is_ok_and(|answer| answer.status == 200) {
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("tidemark ended with {status} before it was ready:\n{}", self.log());
            }
            let last = health.map_or_else(|error| error.to_string(), |answer| answer.body);
            assert!(began.elapsed() < DEADLINE, "not ready in {DEADLINE:?}: {last}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether it has died.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by its name, such as STOP.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(mut self) {
        self.signal("TERM");
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < DEADLINE, "did not stop:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(self.child.wait().unwrap().success(), "ended badly:\n{}", self.log());
    }
}

impl Drop for Tidemark {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.url, self.log());
        }
    }
}

/// An HTTP answer of any status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into()
}

pub fn get(url: &str) -> Result<Answer, ureq::Error> {
    let mut answer = agent().get(url).call()?;
    Ok(Answer { status: answer.status().as_u16(), body: answer.body_mut().read_to_string()? })
}

pub fn post(url: &str, content_type: &str, body: &[u8]) -> Result<Answer, ureq::Error> {
    post_with(url, &[("content-type", content_type)], body)
}

pub fn post_with(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, ureq::Error> {
    let request = headers.iter().fold(agent().post(url), |request, (name, value)| request.header(*name, *value));
    let mut answer = request.send(body)?;
    Ok(Answer { status: answer.status().as_u16(), body: answer.body_mut().read_to_string()? })
}

/// Waits until `check` is content; it says what is still wrong.
pub fn eventually(what: &str, mut check: impl FnMut() -> Result<(), String>) {
    let began = Instant::now();
    loop {
        match check() {
            Ok(()) => return,
            Err(wrong) => assert!(began.elapsed() < DEADLINE, "{what}: after {DEADLINE:?} still {wrong}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
