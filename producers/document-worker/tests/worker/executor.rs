//! One run of a step as a child process.

use std::time::{Duration, Instant};

use tidemark_document_worker::{Cancelled, Limit, Outcome, Running, Step};

use crate::support::{is_running, pid_in, run, run_on, sh, until};

fn with_limits(mut step: Step, change: impl FnOnce(&mut tidemark_document_worker::Limits)) -> Step {
    change(&mut step.limits);
    step
}

#[test]
fn a_step_sees_its_input_and_nothing_else_of_the_worker() {
    let script = "cat; printf ' %s' \"$TIDEMARK_NAME\" \"$TIDEMARK_TYPE\" \"$TIDEMARK_FILE_ID\" \"$TIDEMARK_STEP\" \
                  \"$TIDEMARK_ATTEMPT\" \"$(cat \"$TIDEMARK_CONTENTS\")\" \"$TMPDIR\" \"$(pwd)\"; exit 1";
    let (ran, room) = run_on(&sh("D1", script), b"abc", &Running::default());
    let own = room.path().join("work").display().to_string();
    let wanted = format!("abc a name text/plain {} D1 2 abc {own} {own}", "0".repeat(64));
    assert_eq!(String::from_utf8(ran.output).unwrap(), wanted);

    let ran = run(&sh("D1", "env | sed 's/=.*//'; exit 1"));
    let mut names: Vec<_> = std::str::from_utf8(&ran.output).unwrap().lines().collect();
    names.retain(|name| !name.starts_with("TIDEMARK_") && !["TMPDIR", "PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    assert!(names.iter().all(|name| ["PATH", "LANG", "TZ", "HOME"].contains(name)), "{names:?}");
}

#[test]
fn limits_are_set_before_the_input_comes() {
    let mut step = sh("D1", "cat >/dev/null; ulimit -v; ulimit -t; ulimit -H -t; ulimit -c; ulimit -n; exit 1");
    step.limits.memory_bytes = 123 << 20;
    step.limits.cpu = Duration::from_secs(7);
    assert_eq!(String::from_utf8(run(&step).output).unwrap(), format!("{}\n7\n8\n0\n256\n", 123 << 10));
}

/// A shell starts others before its limits are set, now and then; the input comes when all of them are limited.
#[test]
fn what_a_step_starts_is_limited_however_early() {
    let mut step = sh("D1", "(cat >/dev/null; ulimit -v) | cat; exit 1");
    step.limits.memory_bytes = 123 << 20;
    let limited = || {
        for _ in 0..15 {
            assert_eq!(String::from_utf8(run(&step).output).unwrap(), format!("{}\n", 123 << 10));
        }
    };
    // More at a time than there are cores, so that a worker is held up where it hurts.
    std::thread::scope(|scope| (0..16).for_each(|_| drop(scope.spawn(limited))));
}

#[test]
fn a_good_end_is_ok_with_its_output() {
    let ran = run(&sh("D1", "printf '{\"a\":[1]}'; echo careful >&2"));
    assert_eq!((ran.verdict.outcome, ran.verdict.message.as_deref()), (Outcome::Ok, Some("careful")));
    assert_eq!(ran.output, b"{\"a\":[1]}");
    assert!(ran.wall > Duration::ZERO && ran.memory_bytes > 0);
}

#[test]
fn large_inputs_go_through_and_need_not_be_read() {
    let large = vec![b'x'; 10 << 20];
    let (ran, _room) = run_on(&sh("D1", "wc -c"), &large, &Running::default());
    assert_eq!(String::from_utf8(ran.output).unwrap().trim(), "10485760");
    for script in ["echo 1", "head -c 10 >/dev/null; echo 1", "exec <&-; sleep 0.1; echo 1"] {
        let (ran, _room) = run_on(&sh("D1", script), &large, &Running::default());
        assert_eq!((ran.verdict.outcome, ran.output.as_slice()), (Outcome::Ok, &b"1\n"[..]), "{script}");
    }
    let (ran, _room) = run_on(&sh("D1", "cat | wc -c >&2; cat; echo 1"), b"", &Running::default());
    assert_eq!((ran.verdict.outcome, ran.verdict.message.as_deref()), (Outcome::Ok, Some("0")));
}

#[test]
fn exit_codes_are_told_with_the_last_of_stderr() {
    let ran = run(&sh("D1", "head -c 100000 /dev/zero | tr '\\0' a >&2; echo ' the end' >&2; exit 3"));
    let message = ran.verdict.message.unwrap();
    assert_eq!((ran.verdict.outcome, ran.verdict.retry), (Outcome::Failed, true));
    assert!(message.starts_with("exit code 3: aaa") && message.ends_with("a the end"), "{message}");
    assert_eq!(message.len(), "exit code 3: ".len() + 2048 - 1);
    let ran = run(&sh("D1", "echo 'not a document' >&2; exit 65"));
    assert_eq!((ran.verdict.outcome, ran.verdict.retry), (Outcome::Failed, false));
    assert_eq!(ran.verdict.message.as_deref(), Some("not a document"));
}

#[test]
fn crashes_are_named() {
    for (signal, told) in
        [("SEGV", "segmentation fault (signal 11)"), ("ABRT", "abort (signal 6)"), ("BUS", "bus error")]
    {
        let ran = run(&sh("D1", &format!("echo '{{}}'; kill -{signal} $$")));
        assert_eq!(ran.verdict.outcome, Outcome::Crashed, "{signal}");
        assert!(ran.verdict.message.unwrap().starts_with(told), "{signal}");
    }
}

#[test]
fn output_that_is_no_json_is_garbage() {
    for script in ["true", "echo done", "echo '{} {}'", "printf '\"\\377\"'", "echo '{'"] {
        let ran = run(&sh("D1", script));
        assert_eq!((ran.verdict.outcome, ran.verdict.retry), (Outcome::Garbage, true), "{script}");
        assert!(ran.verdict.message.unwrap().starts_with("its output is not one JSON value in UTF-8: "), "{script}");
    }
}

#[test]
fn running_out_of_memory_is_told_as_that() {
    let bombs = [
        // Grows until the limit stops it.
        "head -c 1000000000 /dev/zero | tail -c 1000000000",
        // Asks for more than the limit at once, and hardly uses any of it.
        "if command -v python3 >/dev/null; then exec python3 -c 'bytearray(1 << 31)'; else exec perl -e '$x = \"x\" x 2**31'; fi",
    ];
    for bomb in bombs {
        let ran = run(&with_limits(sh("D1", bomb), |limits| limits.memory_bytes = 200 << 20));
        let told = (ran.verdict.outcome, ran.verdict.limit, ran.verdict.retry);
        assert_eq!(told, (Outcome::Killed, Some(Limit::Memory), true), "{bomb}: {:?}", ran.verdict);
        assert!(ran.memory_bytes <= 210 << 20, "{}", ran.memory_bytes);
    }
}

#[test]
fn what_writes_too_much_is_killed() {
    let much = with_limits(sh("D1", "cat /dev/zero"), |limits| limits.output_bytes = 1 << 20);
    let ran = run(&much);
    assert_eq!((ran.verdict.outcome, ran.verdict.limit), (Outcome::Killed, Some(Limit::Output)));
    assert!(ran.output.len() <= (1 << 20) + (64 << 10), "{}", ran.output.len());
    let fits = |bytes| with_limits(sh("D1", "printf '\"12345678\"'"), |limits| limits.output_bytes = bytes);
    assert_eq!(run(&fits(10)).verdict.outcome, Outcome::Ok);
    assert_eq!(run(&fits(9)).verdict.limit, Some(Limit::Output));
}

#[test]
fn what_hangs_is_killed_with_all_that_it_has_started() {
    let script = "sleep 1000 & echo $! >../child; sleep 1000";
    let step = with_limits(sh("D1", script), |limits| limits.wall = Duration::from_millis(300));
    let (ran, room) = run_on(&step, b"abc", &Running::default());
    assert_eq!((ran.verdict.outcome, ran.verdict.limit), (Outcome::Killed, Some(Limit::Wall)));
    assert_eq!(ran.verdict.message.as_deref(), Some("over its time limit of 0.3 s"));
    assert!((300..5_000).contains(&ran.wall.as_millis()), "{:?}", ran.wall);
    let child = pid_in(&room.path().join("child"));
    until("its child is killed", || !is_running(child));
}

#[test]
fn what_computes_for_ever_is_killed() {
    let step = with_limits(sh("D1", "while :; do :; done"), |limits| limits.cpu = Duration::from_secs(1));
    let ran = run(&step);
    assert_eq!((ran.verdict.outcome, ran.verdict.limit), (Outcome::Killed, Some(Limit::Cpu)), "{:?}", ran.verdict);
    assert!((500..3_000).contains(&ran.cpu.as_millis()), "{:?}", ran.cpu);
    let stubborn = sh("D1", "trap '' XCPU; while :; do :; done");
    let ran = run(&with_limits(stubborn, |limits| limits.cpu = Duration::from_secs(1)));
    assert_eq!((ran.verdict.outcome, ran.verdict.limit), (Outcome::Killed, Some(Limit::Cpu)), "{:?}", ran.verdict);
}

#[test]
fn whoever_keeps_stdout_open_holds_nobody_up() {
    let (ran, room) = run_on(&sh("D1", "sleep 1000 & echo $! >../child; echo '{}'"), b"abc", &Running::default());
    assert_eq!((ran.verdict.outcome, ran.output.as_slice()), (Outcome::Ok, &b"{}\n"[..]));
    assert!(ran.wall < Duration::from_secs(10), "{:?}", ran.wall);
    let child = pid_in(&room.path().join("child"));
    until("what it left behind is killed", || !is_running(child));
}

/// In a session of their own, processes are out of reach of the group's end.
#[test]
fn whoever_escapes_holds_nobody_up() {
    let ran = run(&sh("D1", "setsid sleep 20 & sleep 0.2; echo '{}'"));
    assert_eq!((ran.verdict.outcome, ran.output.as_slice()), (Outcome::Ok, &b"{}\n"[..]));
    assert!(ran.wall < Duration::from_secs(10), "{:?}", ran.wall);
    let step = sh("D1", "setsid sh -c 'while :; do echo x; done' & sleep 0.2; echo '{}'");
    let ran = run(&with_limits(step, |limits| limits.output_bytes = 4 << 20));
    assert_ne!(ran.verdict.outcome, Outcome::Ok);
    assert!(ran.wall < Duration::from_secs(30), "{:?}", ran.wall);
    let quiet = sh("D1", "setsid sh -c 'while :; do echo x >&2; done' & sleep 0.2; echo '{}'");
    let ran = run(&quiet);
    assert_eq!(ran.verdict.outcome, Outcome::Ok);
    assert!(ran.wall < Duration::from_secs(30), "{:?}", ran.wall);
}

#[test]
fn closed_pipes_are_waited_out_without_spinning() {
    let began = cpu_of_this_thread();
    let ran = run(&sh("D1", "exec >&- 2>&- <&-; sleep 1; exit 4"));
    assert_eq!(ran.verdict.message.as_deref(), Some("exit code 4"));
    let used = cpu_of_this_thread() - began;
    assert!(used < Duration::from_millis(300), "{used:?} of CPU while it had nothing to do");
}

/// First figure of schedstat: nanoseconds on a core.
pub(crate) fn cpu_of_this_thread() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn what_cannot_be_started_is_not_the_steps_fault() {
    let step = Step { command: vec!["/nowhere/program".into()], ..sh("D1", "") };
    let ran = run(&step);
    assert_eq!((ran.verdict.outcome, ran.verdict.retry), (Outcome::Infrastructure, false));
    let message = ran.verdict.message.unwrap();
    assert!(message.starts_with("cannot start /nowhere/program of step D1: No such file"), "{message}");
}

#[test]
fn the_program_tidemark_is_the_binary_that_was_named() {
    let step = Step { command: vec!["tidemark".into(), "step".into()], ..sh("D1", "") };
    // `/bin/true` stands for it here: it ends well and says nothing.
    assert_eq!(run(&step).verdict.outcome, Outcome::Garbage);
}

#[test]
fn a_task_that_is_given_up_ends_its_step_at_once() {
    let running = Running::default();
    let step = sh("D1", "sleep 1000");
    let ran = std::thread::scope(|scope| {
        let ran = scope.spawn(|| run_on(&step, b"abc", &running).0);
        until("the step runs", || running.pid().is_some());
        let cancelled = Instant::now();
        running.cancel(Cancelled::Revoked);
        let ran = ran.join().unwrap();
        assert!(cancelled.elapsed() < Duration::from_secs(5), "{:?}", cancelled.elapsed());
        ran
    });
    assert_eq!((ran.verdict.outcome, running.cancelled()), (Outcome::Crashed, Some(Cancelled::Revoked)));
    assert_eq!(running.pid(), None);
    let (ran, _room) = run_on(&step, b"abc", &running);
    assert!(ran.wall < Duration::from_secs(5), "one that comes later is ended too: {:?}", ran.wall);
}

#[test]
fn what_it_used_is_measured() {
    let hungry = "head -c 60000000 /dev/zero | tail -c 60000000 | head -c 1 >/dev/null; \
                  i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo 1";
    let ran = run(&sh("D1", hungry));
    assert_eq!(ran.verdict.outcome, Outcome::Ok);
    assert!(((60 << 20) - (4 << 20)..500 << 20).contains(&ran.memory_bytes), "{}", ran.memory_bytes);
    assert!(ran.cpu > Duration::from_millis(20) && ran.cpu < ran.wall * 4, "{:?} {:?}", ran.cpu, ran.wall);
}
