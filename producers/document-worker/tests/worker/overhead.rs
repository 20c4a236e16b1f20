//! What a step costs before it does anything.

use std::time::{Duration, Instant};

use tidemark_document_worker::{Outcome, Step};

use crate::executor::cpu_of_this_thread;
use crate::support::{run_on, sh};

/// A small document with five steps is to cost a few milliseconds. What is bounded is CPU, the worker's and the program's, as other tests
/// share the cores; time by the clock is what `examples/step_cost.rs` measures.
#[test]
fn starting_a_step_costs_little() {
    const RUNS: u32 = 50;
    let step = Step { command: vec!["echo".into(), "{}".into()], ..sh("D1", "") };
    let (began, before, mut cpu) = (Instant::now(), cpu_of_this_thread(), Duration::ZERO);
    for _ in 0..RUNS {
        let (ran, _room) = run_on(&step, b"abc", &Default::default());
        assert_eq!(ran.verdict.outcome, Outcome::Ok);
        cpu += ran.cpu;
    }
    let each = (cpu + cpu_of_this_thread() - before) / RUNS;
    eprintln!("a step that only echoes: {each:?} of CPU, {:?} by the clock", began.elapsed() / RUNS);
    assert!(each < Duration::from_millis(10), "{each:?}");
}
