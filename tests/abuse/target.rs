//! The running process, and raw bytes to it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The process never holds more, whatever comes: 256 MiB of bodies, as much again for what is made of them, and itself.
pub const RSS_MAX_KIB: u64 = 768 << 10;

/// Ends the process when its standard input ends, which it does with the tests, however they end.
const LEASH: &str = r#""$@" </dev/null & echo $! > "$0"; cat >/dev/null; kill -9 $!"#;

/// A running `tidemark`.
pub struct Target {
    pub address: SocketAddr,
    pid: u32,
    output: PathBuf,
    _leash: Child,
    _dir: tempfile::TempDir,
}

/// One for all attacks that need no tokens.
pub fn open() -> &'static Target {
    static OPEN: OnceLock<Target> = OnceLock::new();
    OPEN.get_or_init(|| Target::start(tempfile::tempdir().unwrap(), &[]))
}

impl Target {
    /// Starts `tidemark up` with its data in `dir`, and waits until it is ready.
    pub fn start(dir: tempfile::TempDir, args: &[&str]) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], tidemark_harness::free_port().unwrap()));
        let (output, pid_file) = (dir.path().join("output"), dir.path().join("pid"));
        let out = File::create(&output).unwrap();
        let leash = Command::new("sh")
            .args(["-c", LEASH])
            .arg(&pid_file)
            .args([env!("CARGO_BIN_EXE_tidemark"), "up", "--listen", &address.to_string(), "--data-dir"])
            .arg(dir.path().join("data"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let mut target = Self { address, pid: 0, output, _leash: leash, _dir: dir };
        target.until("ready", |target| target.status("GET /v1/health HTTP/1.0\r\n\r\n") == Some(200));
        target.pid = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        target
    }

    pub fn until(&self, what: &str, mut met: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !met(self) {
            assert!(began.elapsed() < Duration::from_secs(60), "not {what} in time:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Everything it has printed.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap()).into_owned()
    }

    pub fn dir(&self) -> &Path {
        self.output.parent().unwrap()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends these bytes and reads until the connection is closed, which must be within a minute.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // It may answer and close before it has read all.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            let reset = error.kind() == std::io::ErrorKind::ConnectionReset;
            assert!(reset, "neither answered nor closed: {error}; so far {:?}", String::from_utf8_lossy(&answer));
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn status(&self, request: &str) -> Option<u16> {
        TcpStream::connect(self.address).ok()?;
        status(&self.raw(request.as_bytes()))
    }

    /// Sends a request with a body and these headers; host, length and `connection: close` are added.
    pub fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> String {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
            self.address,
            body.len()
        );
        self.raw(&[head.as_bytes(), body].concat())
    }

    /// Posts flows.
    pub fn post(&self, headers: &str, body: &[u8]) -> String {
        self.send("POST", "/v1/flows", headers, body)
    }

    /// The most memory that was ever resident, KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the process is gone");
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Fails unless the process lives, within its memory, and takes a good request.
    pub fn assert_well(&self) {
        let rss = self.rss_kib();
        assert!(rss < RSS_MAX_KIB, "{rss} KiB were resident");
        let answer = self.post(JSON, GOOD);
        assert_eq!(status(&answer), Some(202), "{answer}\n{}", self.output());
    }

    /// Fails unless the answer has one of these statuses and the process is well.
    #[track_caller]
    pub fn refused(&self, answer: &str, allowed: &[u16]) {
        let found = status(answer).unwrap_or(0);
        assert!(allowed.contains(&found), "{found} is none of {allowed:?}: {answer:.600}");
        self.assert_well();
    }
}

pub const JSON: &str = "content-type: application/json\r\n";
pub const NDJSON: &str = "content-type: application/x-ndjson\r\n";
pub const AVRO: &str = "content-type: application/avro\r\n";
pub const GOOD: &[u8] = br#"{"src_app":"web","dest_app":"db","vpc_id":"v","hour":490000,"bytes_tx":1,"bytes_rx":2}"#;

/// The status of an answer, if it is one.
pub fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

/// How many answers there are.
pub fn answers(raw: &str) -> usize {
    raw.matches("HTTP/1.1 ").count() + raw.matches("HTTP/1.0 ").count()
}
