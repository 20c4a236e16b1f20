//! `tidemark-servers`: hands addresses and statuses on, and leaves no server behind, not even when it is killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SERVERS: &str = env!("CARGO_BIN_EXE_tidemark-servers");

/// `host:port` of `export NAME=host:port` or `export NAME=http://host:port/path`.
fn address(line: &str) -> String {
    let value = line.split_once('=').unwrap().1;
    value.trim_start_matches("http://").split('/').next().unwrap().to_owned()
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn servers_end_when_their_starter_is_killed() {
    let temp = tempfile::tempdir().unwrap();
    let mut starter =
        Command::new(SERVERS).arg("up").env("TMPDIR", temp.path()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(starter.stdout.take().unwrap()).lines();
    let addresses: Vec<String> = lines.take(3).map(|line| address(&line.unwrap())).collect();
    assert_eq!(addresses.len(), 3);
    for address in &addresses {
        TcpStream::connect(address).unwrap_or_else(|e| panic!("{address}: {e}"));
    }

    starter.kill().unwrap();
    starter.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while addresses.iter().any(|a| TcpStream::connect(a).is_ok()) || !is_empty(temp.path()) {
        assert!(Instant::now() < deadline, "servers or their data outlived their starter");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn run_hands_on_addresses_and_the_status() {
    let script =
        r#"[ -n "$TIDEMARK_TEST_KAFKA" ] && [ -n "$TIDEMARK_TEST_CQL" ] && [ -n "$TIDEMARK_TEST_REGISTRY" ] && exit 7"#;
    let status = Command::new(SERVERS).args(["run", "--", "sh", "-c", script]).status().unwrap();
    assert_eq!(status.code(), Some(7));
}

#[test]
fn says_how_to_get_java() {
    let output = Command::new(SERVERS).arg("up").env("PATH", "/nowhere").env_remove("JAVA_HOME").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("apt-get install -y openjdk-17-jre-headless"), "{error}");
}
