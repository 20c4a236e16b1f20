//! Watches the calls of this process that block: one that hangs makes it not ready, and in the end makes it end itself.

use crate::ops::Ops;
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tidemark_log::watch::{self, Stuck};

/// How often is looked.
const EVERY: Duration = Duration::from_secs(1);
/// EX_SOFTWARE of `sysexits.h`: the process cannot go on by itself, and may do so when it is started again.
const EXIT_STATUS: i32 = 70;

/// Adds the check `calls` and the gauge `tidemark_stuck_calls`, and watches until the process ends.
///
/// # Errors
/// No thread can be had.
pub fn start(ops: &mut Ops) -> std::io::Result<()> {
    ops.check("calls", || watch::ready(&watch::stuck()));
    ops.metrics.push(Arc::new(|out: &mut String| render(&watch::stuck(), out)));
    std::thread::Builder::new().name("watchdog".into()).spawn(run).map(drop)
}

fn run() {
    let mut told = HashSet::new();
    loop {
        let slept = std::time::Instant::now();
        std::thread::sleep(EVERY);
        // The whole process was stopped for a while (SIGSTOP, a suspended machine): every call looks overdue for a moment.
        if slept.elapsed() > EVERY * 3 {
            continue;
        }
        let (calls, now_ms) = (watch::under_way(), watch::now_ms());
        tell(&watch::overdue(&calls, now_ms), &mut told);
        if let Some(why) = watch::hopeless(&calls, now_ms) {
            tracing::error!(
                why,
                "a call hangs for good; this process ends, and goes on from what is committed when started again"
            );
            eprintln!(
                "tidemark: {why}: it hangs for good, so this process ends; start it again to go on from what is committed"
            );
            watch::end_process(EXIT_STATUS);
        }
    }
}

/// Logs each stuck call once.
fn tell(stuck: &[Stuck], told: &mut HashSet<(Arc<str>, u64)>) {
    let key = |stuck: &Stuck| (Arc::clone(&stuck.call.thread), stuck.call.began_ms);
    for stuck in stuck.iter().filter(|stuck| !told.contains(&key(stuck))) {
        tracing::warn!("stuck: {stuck}");
    }
    *told = stuck.iter().map(key).collect();
}

fn render(stuck: &[Stuck], out: &mut String) {
    let help = "Calls into a library or driver that have taken longer than they may.";
    let _ = writeln!(out, "# HELP tidemark_stuck_calls {help}\n# TYPE tidemark_stuck_calls gauge");
    let _ = writeln!(out, "tidemark_stuck_calls {}", stuck.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemark_log::watch::{Call, UnderWay};

    #[test]
    fn a_stuck_call_is_told_once_and_counted() {
        let call = UnderWay { thread: "t".into(), call: Call::Flush, began_ms: 1, limit_ms: 2 };
        let (mut told, stuck) = (HashSet::new(), [Stuck { call, for_ms: 9_000 }]);
        tell(&stuck, &mut told);
        assert!(told.contains(&("t".into(), 1)));
        tell(&[], &mut told);
        assert!(told.is_empty(), "a call that is over is forgotten");
        let mut text = String::new();
        render(&stuck, &mut text);
        assert!(text.ends_with("\ntidemark_stuck_calls 1\n"), "{text}");
    }
}
