//! What a command must look like. One that breaks a rule is dead-lettered: whoever writes to the topic checks the same before.

use super::ids;
use tidemark_core::dispatch::{CAPACITY_MAX as QUEUE_CAPACITY_MAX, TIMES_MAX};
use tidemark_core::process::Reject;
use tidemark_schemas::dispatch::{AttemptReport, Heartbeat, LeaseRequested, RunTimesLearned, TaskActed, TaskReported};
use tidemark_schemas::documents::DocumentUploaded;

/// Most tasks that a worker takes at a time.
pub const CAPACITY_MAX: i32 = QUEUE_CAPACITY_MAX;
/// Most runs of steps in one report.
pub const ATTEMPTS_MAX: usize = 1_000;
/// Longest error, reason or message, bytes.
pub const MESSAGE_BYTES_MAX: usize = 8_192;
/// Longest name of a tenant or queue, bytes.
const LANE_BYTES_MAX: usize = 64;
/// Longest name of a step, bytes.
const STEP_BYTES_MAX: usize = 64;
/// Longest name of a person or worker, bytes.
const PERSON_BYTES_MAX: usize = 128;
/// Longest mail address (RFC 5321, section 4.5.3.1.3, without the angle brackets), bytes.
const MAIL_BYTES_MAX: usize = 254;
/// Longest run time that may be expected: a week, milliseconds.
const EXPECTED_MS_MAX: i64 = 7 * 86_400_000;

/// Results of the runs of steps.
const OUTCOMES: [&str; 6] = ["OK", "FAILED", "CRASHED", "KILLED", "GARBAGE", "INFRASTRUCTURE"];

type Checked = Result<(), Reject>;

pub(super) fn uploaded(upload: &DocumentUploaded) -> Checked {
    lane(&upload.tenant, &upload.queue)?;
    uuid("request_id", &upload.request_id)?;
    sized("upload_id", &upload.upload_id, 1, 255)?;
    hash("file_id", &upload.file_id)?;
    sized("name", &upload.name, 1, 255)?;
    line("media_type", &upload.media_type, 1, 128)?;
    at_least("bytes", upload.bytes, 0)?;
    line("owner", &upload.owner, 1, PERSON_BYTES_MAX)?;
    mail(&upload.mail)
}

pub(super) fn lease_requested(asked: &LeaseRequested) -> Checked {
    lane(&asked.tenant, &asked.queue)?;
    uuid("request_id", &asked.request_id)?;
    line("worker", &asked.worker, 1, PERSON_BYTES_MAX)?;
    within("capacity", i64::from(asked.capacity), 1, i64::from(CAPACITY_MAX))
}

pub(super) fn heartbeat(heard: &Heartbeat) -> Checked {
    lane(&heard.tenant, &heard.queue)?;
    uuid("request_id", &heard.request_id)?;
    line("worker", &heard.worker, 1, PERSON_BYTES_MAX)?;
    within("capacity", i64::from(heard.capacity), 0, i64::from(CAPACITY_MAX))?;
    at_least("memory_bytes", heard.memory_bytes, 0)?;
    at_least("cpu_percent", i64::from(heard.cpu_percent), 0)?;
    most("held", heard.held.len(), usize::try_from(CAPACITY_MAX).unwrap_or(0))?;
    heard.held.iter().try_for_each(|held| {
        line("held.task_id", &held.task_id, 1, PERSON_BYTES_MAX)?;
        line("held.step", &held.step, 0, STEP_BYTES_MAX)
    })
}

pub(super) fn reported(report: &TaskReported) -> Checked {
    lane(&report.tenant, &report.queue)?;
    uuid("request_id", &report.request_id)?;
    line("worker", &report.worker, 1, PERSON_BYTES_MAX)?;
    line("task_id", &report.task_id, 1, PERSON_BYTES_MAX)?;
    one_of("outcome", &report.outcome, &["COMPLETED", "FAILED", "REFUSED"])?;
    report.step.iter().try_for_each(|step| line("step", step, 1, STEP_BYTES_MAX))?;
    report.message.iter().try_for_each(|message| sized("message", message, 0, MESSAGE_BYTES_MAX))?;
    if report.outcome == "COMPLETED" {
        hash("result", report.result.as_deref().unwrap_or_default())?;
    }
    at_least("result_bytes", report.result_bytes, 0)?;
    most("attempts", report.attempts.len(), ATTEMPTS_MAX)?;
    report.attempts.iter().try_for_each(attempt)
}

fn attempt(attempt: &AttemptReport) -> Checked {
    line("attempts.step", &attempt.step, 1, STEP_BYTES_MAX)?;
    within("attempts.attempt", i64::from(attempt.attempt), 1, 100)?;
    one_of("attempts.outcome", &attempt.outcome, &OUTCOMES)?;
    attempt.message.iter().try_for_each(|message| sized("attempts.message", message, 0, MESSAGE_BYTES_MAX))?;
    at_least("attempts.wall_us", attempt.wall_us, 0)?;
    at_least("attempts.cpu_us", attempt.cpu_us, 0)?;
    at_least("attempts.memory_bytes", attempt.memory_bytes, 0)
}

pub(super) fn acted(act: &TaskActed) -> Checked {
    lane(&act.tenant, &act.queue)?;
    uuid("request_id", &act.request_id)?;
    hash("key", &act.key)?;
    one_of("action", &act.action, &["CANCEL", "RETRY"])?;
    line("by", &act.by, 0, PERSON_BYTES_MAX)
}

pub(super) fn learned(learned: &RunTimesLearned) -> Checked {
    lane(&learned.tenant, &learned.queue)?;
    most("times", learned.times.len(), TIMES_MAX)?;
    learned.times.iter().try_for_each(|time| {
        line("times.kind", &time.kind, 1, 128)?;
        line("times.step", &time.step, 0, STEP_BYTES_MAX)?;
        within("times.expected_ms", time.expected_ms, 0, EXPECTED_MS_MAX)
    })
}

fn lane(tenant: &str, queue: &str) -> Checked {
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    for (field, text) in [("tenant", tenant), ("queue", queue)] {
        sized(field, text, 1, LANE_BYTES_MAX)?;
        rule(is_name(text), field, || "only letters, digits, '.', '_' and '-' are taken".to_owned())?;
    }
    Ok(())
}

fn mail(text: &str) -> Checked {
    line("mail", text, 0, MAIL_BYTES_MAX)?;
    let is_address = text.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    rule(text.is_empty() || is_address, "mail", || "it has no '@' between a name and a domain".to_owned())
}

fn uuid(field: &'static str, text: &str) -> Checked {
    rule(ids::uuid(text).is_some(), field, || "it is no UUID with hyphens, in lower case".to_owned())
}

fn hash(field: &'static str, text: &str) -> Checked {
    rule(ids::file(text).is_some(), field, || "it is no SHA-256: 64 hexadecimal digits in lower case".to_owned())
}

/// A text on one line: it may come to stand in mails and logs.
fn line(field: &'static str, text: &str, least: usize, most: usize) -> Checked {
    sized(field, text, least, most)?;
    rule(!text.chars().any(char::is_control), field, || "it has control characters in it".to_owned())
}

fn sized(field: &'static str, text: &str, least: usize, most: usize) -> Checked {
    let bytes = text.len();
    rule((least..=most).contains(&bytes), field, || format!("it has {bytes} bytes; {least} to {most} are taken"))
}

fn within(field: &'static str, value: i64, least: i64, most: i64) -> Checked {
    rule((least..=most).contains(&value), field, || format!("it is {value}; {least} to {most} is taken"))
}

fn at_least(field: &'static str, value: i64, least: i64) -> Checked {
    rule(value >= least, field, || format!("it is {value}; it must be {least} or more"))
}

fn most(field: &'static str, count: usize, most: usize) -> Checked {
    rule(count <= most, field, || format!("there are {count}; at most {most} are taken"))
}

fn one_of(field: &'static str, text: &str, names: &[&str]) -> Checked {
    rule(names.contains(&text), field, || format!("it is none of {}", names.join(", ")))
}

fn rule(holds: bool, field: &'static str, rule: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Reject::Rule { field, rule: rule() }) }
}
