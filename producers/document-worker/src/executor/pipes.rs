//! The three pipes of a step, moved by one thread without ever blocking on one of them.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};

use super::Running;
use super::verdict::Limit;

/// What is kept of standard error, bytes.
const STDERR_MAX: usize = 2048;
/// Moved at a time: what a pipe holds.
const CHUNK: usize = 64 << 10;
/// Reads of standard error after the end, so that whoever still writes to it holds nobody up.
const LAST_READS: usize = 16;

pub(super) struct Pipes {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    input: File,
    /// Read from the input and not taken yet: `chunk[start..end]`.
    chunk: Box<[u8]>,
    unsent: std::ops::Range<usize>,
    scratch: Box<[u8]>,
    output: Vec<u8>,
    output_max: usize,
    last_words: Vec<u8>,
}

impl Pipes {
    pub(super) fn new(child: &mut Child, input: File, output_max: u64) -> io::Result<Self> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        for pipe in
            [stdin.as_ref().map(AsFd::as_fd), stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)]
        {
            pipe.map_or(Ok(()), |pipe| ioctl_fionbio(pipe, true))?;
        }
        Ok(Self {
            stdin,
            stdout,
            stderr,
            input,
            chunk: vec![0; CHUNK].into(),
            unsent: 0..0,
            scratch: vec![0; CHUNK].into(),
            output: Vec::new(),
            output_max: usize::try_from(output_max).unwrap_or(usize::MAX),
            last_words: Vec::new(),
        })
    }

    /// Moves bytes until the process has ended; kills it at the deadline or when it writes too much, and says which.
    ///
    /// What the process has started may live on and hold the pipes: they are read only as far as they are filled when it has ended.
    pub(super) fn move_until_end(
        &mut self,
        process: &OwnedFd,
        deadline: Instant,
        running: &Running,
    ) -> io::Result<Option<Limit>> {
        loop {
            let ended = self.poll(process, deadline)?;
            let stopped = if ended { self.drain(deadline)? } else { self.turn(deadline)? };
            if stopped.is_some() {
                running.kill();
                return Ok(stopped);
            }
            if ended {
                return Ok(None);
            }
        }
    }

    /// The output, and the last of standard error as text.
    pub(super) fn into_parts(self) -> (Vec<u8>, String) {
        let text = String::from_utf8_lossy(&self.last_words);
        let kept = text.chars().filter(|char| !char.is_control() || matches!(char, '\n' | '\t')).collect::<String>();
        (self.output, kept.trim().to_owned())
    }

    /// Waits until something can be moved, or for the deadline. Gives whether the process has ended.
    fn poll(&self, process: &OwnedFd, deadline: Instant) -> io::Result<bool> {
        let mut waits = vec![PollFd::new(process, PollFlags::IN)];
        waits.extend(self.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        waits.extend(self.stdout.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        waits.extend(self.stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        // A moment more than what is left, so that the deadline has passed when the wait is over.
        let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        let left =
            Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut waits, Some(&left)) {
            Ok(_) => Ok(waits.first().is_some_and(|process| !process.revents().is_empty())),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves one chunk through each pipe.
    fn turn(&mut self, deadline: Instant) -> io::Result<Option<Limit>> {
        self.feed()?;
        self.read_stderr();
        self.read_stdout();
        Ok(self.over(deadline))
    }

    fn over(&self, deadline: Instant) -> Option<Limit> {
        let too_much = self.output.len() > self.output_max;
        too_much.then_some(Limit::Output).or_else(|| (Instant::now() >= deadline).then_some(Limit::Wall))
    }

    /// What is in the pipes when the process has ended. Whoever else still writes is heard up to the limits, not beyond.
    fn drain(&mut self, deadline: Instant) -> io::Result<Option<Limit>> {
        self.stdin = None;
        for _ in 0..LAST_READS {
            if !self.read_stderr() {
                break;
            }
        }
        while self.read_stdout() {
            if let Some(limit) = self.over(deadline) {
                return Ok(Some(limit));
            }
        }
        Ok((self.output.len() > self.output_max).then_some(Limit::Output))
    }

    fn feed(&mut self) -> io::Result<()> {
        let Some(stdin) = &mut self.stdin else { return Ok(()) };
        if self.unsent.is_empty() {
            self.unsent = 0..self.input.read(&mut self.chunk)?;
        }
        let unsent = self.chunk.get(self.unsent.clone()).unwrap_or_default();
        if unsent.is_empty() {
            self.stdin = None;
            return Ok(());
        }
        match stdin.write(unsent) {
            Ok(count) => self.unsent.start += count,
            Err(error) if later(&error) => {}
            // The step has seen enough.
            Err(_) => self.stdin = None,
        }
        Ok(())
    }

    /// Whether there may be more.
    fn read_stdout(&mut self) -> bool {
        let read = self.stdout.as_mut().map(|pipe| pipe.read(&mut self.scratch));
        match read {
            Some(Ok(count)) if count > 0 => {
                self.output.extend_from_slice(self.scratch.get(..count).unwrap_or_default());
                true
            }
            Some(Err(error)) if later(&error) => false,
            _ => {
                self.stdout = None;
                false
            }
        }
    }

    /// Whether there may be more.
    fn read_stderr(&mut self) -> bool {
        let read = self.stderr.as_mut().map(|pipe| pipe.read(&mut self.scratch));
        match read {
            Some(Ok(count)) if count > 0 => {
                self.last_words.extend_from_slice(self.scratch.get(..count).unwrap_or_default());
                let excess = self.last_words.len().saturating_sub(STDERR_MAX);
                self.last_words.drain(..excess);
                true
            }
            Some(Err(error)) if later(&error) => false,
            _ => {
                self.stderr = None;
                false
            }
        }
    }
}

/// Nothing can be moved just now.
fn later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
