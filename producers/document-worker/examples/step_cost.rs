//! What it costs to run a step that does nothing, and what Linux says it used.
//!
//! `cargo run --release --example step_cost -p tidemark-document-worker -- /bin/true`: mean and worst time by the clock, CPU and peak
//! memory of 200 runs, one after the other, of the command that is given, on a document of three bytes.
#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use std::time::{Duration, Instant};

use tidemark_document_worker::{Document, Executor, Limits, Run, Running, Step};

const RUNS: u32 = 200;

fn main() -> std::io::Result<()> {
    let command: Vec<String> = std::env::args().skip(1).collect();
    let room = tempfile::tempdir()?;
    let input = room.path().join("contents");
    std::fs::write(&input, "abc")?;
    let document = Document { file_id: "0".repeat(64), name: "a".into(), media_type: "text/plain".into(), bytes: 3 };
    let step = Step { name: "D1".into(), command, limits: Limits::default(), retries: 0 };
    let run =
        Run { step: &step, attempt: 1, input: &input, contents: &input, document: &document, directory: room.path() };
    let (executor, running) = (Executor::new()?, Running::default());
    let (mut worst, mut cpu, mut memory) = (Duration::ZERO, Duration::ZERO, 0);
    let began = Instant::now();
    let mut last = None;
    for _ in 0..RUNS {
        let ran = executor.run(&run, &running);
        (worst, cpu, memory) = (worst.max(ran.wall), cpu + ran.cpu, ran.memory_bytes);
        last = Some(ran.verdict);
    }
    println!(
        "{:?} each, {worst:?} at worst; {:?} of CPU; {} KiB at the last",
        began.elapsed() / RUNS,
        cpu / RUNS,
        memory >> 10
    );
    println!("{last:?}");
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/status")?
            .lines()
            .filter(|line| line.starts_with("VmHWM"))
            .collect::<String>()
    );
    Ok(())
}
