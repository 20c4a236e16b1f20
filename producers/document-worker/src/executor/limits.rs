//! The kernel's limits on a step.

use std::time::{Duration, Instant};
use std::{fs, io, thread};

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use crate::pipeline::Limits;

/// The largest file that a step may write, bytes. Its output is no file and has a limit of its own.
pub(super) const FILE_BYTES: u64 = 1 << 30;
/// Descriptors that a process of a step may have open.
const FILES_OPEN: u64 = 256;

/// Processes that a step may have started before its limits are set.
const EARLY_MAX: usize = 256;
/// A process that does not stop within this time hangs in the kernel.
const STOP_WITHIN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_micros(50);

/// Sets the limits of a step that has just been started. What it starts later inherits them.
///
/// They are set from outside, because a limit set before the program is executed would need unsafe code here. So the program runs for a
/// moment without them, fed nothing yet, and may have started others in it, as a shell does. Each process is stopped, so that it is not
/// just about to start one more; then it gets its limits and is asked for its children; at the end all go on. That leaves out only
/// processes whose parent has ended within that moment.
pub(super) fn set(leader: Pid, limits: &Limits) -> io::Result<()> {
    let mut all = vec![leader];
    let limited = set_all(&mut all, limits);
    // Children first: a parent that waits for stopped children is not to see one.
    for process in all.iter().rev() {
        let _ended = kill_process(*process, Signal::CONT);
    }
    limited
}

fn set_all(all: &mut Vec<Pid>, limits: &Limits) -> io::Result<()> {
    let mut next = 0;
    while let Some(&process) = all.get(next) {
        stop(process)?;
        set_one(process, limits)?;
        all.extend(children(process));
        next += 1;
        if all.len() > EARLY_MAX {
            return Err(io::Error::other("it starts processes faster than they can be limited"));
        }
    }
    Ok(())
}

/// Comes back when it has stopped, or ended.
fn stop(process: Pid) -> io::Result<()> {
    let _ended = kill_process(process, Signal::STOP);
    let until = Instant::now() + STOP_WITHIN;
    while !is_at_rest(process) {
        if Instant::now() >= until {
            return Err(io::Error::other("it cannot be stopped: it hangs in the kernel"));
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Stopped, ended, or gone: the state is the first field after the name (proc(5)).
fn is_at_rest(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['T', 't', 'Z', 'X']))
}

/// Of all its threads (`/proc/PID/task/TID/children`); none when it has ended.
fn children(process: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero())).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| pids(&list)).collect()
}

fn pids(list: &str) -> Vec<Pid> {
    list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

fn set_one(process: Pid, limits: &Limits) -> io::Result<()> {
    let cpu = limits.cpu.as_secs();
    // Over the first limit comes SIGXCPU; whoever ignores it is killed a second later.
    let cpu = Rlimit { current: Some(cpu), maximum: Some(cpu + 1) };
    let same = |bound| Rlimit { current: Some(bound), maximum: Some(bound) };
    let all = [
        (Resource::As, same(limits.memory_bytes)),
        (Resource::Cpu, cpu),
        (Resource::Core, same(0)),
        (Resource::Fsize, same(FILE_BYTES)),
        (Resource::Nofile, same(FILES_OPEN)),
    ];
    for (resource, limit) in all {
        match prlimit(Some(process), resource, within(limit, getrlimit(resource))) {
            // It has ended already.
            Ok(_) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// No limit may be higher than our own: without privileges the kernel would refuse it.
fn within(limit: Rlimit, own: Rlimit) -> Rlimit {
    let least = |bound: Option<u64>| match (bound, own.maximum) {
        (Some(bound), Some(own)) => Some(bound.min(own)),
        (bound, own) => bound.or(own),
    };
    Rlimit { current: least(limit.current), maximum: least(limit.maximum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_higher_than_the_workers_own() {
        let limit = |current, maximum| Rlimit { current, maximum };
        let wanted = limit(Some(10), Some(11));
        assert_eq!(within(wanted, limit(None, None)), wanted);
        assert_eq!(within(wanted, limit(Some(1), Some(100))), wanted);
        assert_eq!(within(wanted, limit(Some(1), Some(5))), limit(Some(5), Some(5)));
    }
}
