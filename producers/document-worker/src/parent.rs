//! Ends with the parent.

use std::io;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// From now on SIGTERM comes when the parent ends, so that a worker which `tidemark up` has started does not outlive it. Gives false
/// if the parent, the process `parent`, is gone already.
///
/// To be called by the main thread, early. Linux sends the signal when the *thread* that started this process ends, so the parent must
/// start it from a thread that lives as long as the parent does.
///
/// # Errors
/// The kernel refuses.
pub fn end_with_parent(parent: u32) -> io::Result<bool> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    Ok(getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()) == Some(parent))
}
