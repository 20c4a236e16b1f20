//! A worker that is to end with its parent.

use std::process::{Command, Stdio};

use crate::support::{is_running, pid_in, until};

const PARENT: &str = "TIDEMARK_TEST_PARENT";

/// The child's part; a test of its own only when the other one starts it.
#[test]
fn child_of_a_parent() {
    let Ok(parent) = std::env::var(PARENT) else { return };
    let is_there = tidemark_document_worker::end_with_parent(parent.parse().unwrap()).unwrap();
    println!("\nparent: {is_there}");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[test]
fn the_worker_ends_with_its_parent() {
    let room = tempfile::tempdir().unwrap();
    let (pid, output) = (room.path().join("pid"), room.path().join("output"));
    // A shell is the parent: it starts this program once more and waits.
    let script = format!(
        "{PARENT}=$$ {:?} --exact parent::child_of_a_parent --nocapture >{output:?} & echo $! >{pid:?}; wait",
        std::env::current_exe().unwrap()
    );
    let mut parent = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap();
    let child = pid_in(&pid);
    until("the child has asked for it", || {
        std::fs::read_to_string(&output).is_ok_and(|text| text.contains("parent: true"))
    });
    assert!(is_running(child));
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("the child ends", || !is_running(child));
    // One whose parent is gone is told so.
    assert!(!tidemark_document_worker::end_with_parent(u32::MAX).unwrap());
}
