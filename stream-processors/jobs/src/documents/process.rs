//! The keyed process: input by input, queue by queue.

use super::change::{Cause, Change};
use super::keys::{self, Key, LaneId};
use super::lane::{Lane, read};
use super::{Settings, rules};
use std::collections::{BTreeMap, BTreeSet};
use tidemark_core::dispatch::EntryKey;
use tidemark_core::process::{Input, Output, Process, Reject};
use tidemark_schemas::dispatch::{Heartbeat, LeaseRequested, RunTimesLearned, TaskActed, TaskReported};
use tidemark_schemas::documents::DocumentUploaded;

/// The queues of one partition of `documents.commands`.
pub struct Documents {
    settings: Settings,
    lanes: BTreeMap<LaneId, Lane>,
    /// When something is due of itself, and where.
    timers: BTreeSet<(i64, LaneId)>,
}

impl Documents {
    /// Without any queue yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, lanes: BTreeMap::new(), timers: BTreeSet::new() }
    }

    /// Changes a queue, which is made when it is new.
    fn change(
        &mut self,
        (tenant, queue): (&str, &str),
        (now, offset): (i64, i64),
        cause: Cause<'_>,
        out: &mut Output,
        work: impl FnOnce(&mut Change<'_>),
    ) {
        let id = LaneId { tenant: tenant.to_owned(), queue: queue.to_owned() };
        let make = || Lane::new(id.clone(), self.settings.dispatch.clone());
        let lane = self.lanes.entry(id.clone()).or_insert_with(make);
        let mut change = Change { lane, settings: &self.settings, out, now, offset, cause, changed: BTreeMap::new() };
        work(&mut change);
        change.finish();
        self.set_timer(&id);
        self.drop_empty(&id, out);
    }

    /// Anybody may ask a queue of any name for a task: those that nobody uploads to are not kept.
    fn drop_empty(&mut self, id: &LaneId, out: &mut Output) {
        if self.lanes.get(id).is_some_and(Lane::is_empty) {
            self.lanes.remove(id);
            out.change(id.entry(&Key::Dispatch(EntryKey::Queue)));
        }
    }

    fn set_timer(&mut self, id: &LaneId) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        let due = lane.due(self.settings.upload_kept_ms);
        if due != lane.timer {
            if let Some(at) = lane.timer {
                self.timers.remove(&(at, id.clone()));
            }
            self.timers.extend(due.map(|at| (at, id.clone())));
            lane.timer = due;
        }
    }
}

impl Process for Documents {
    fn apply(&mut self, input: &Input<'_>, out: &mut Output) -> Result<(), Reject> {
        let Input { schema, datum, now, offset } = *input;
        let at = (now, offset);
        match schema {
            0 => {
                let upload: DocumentUploaded = read(datum)?;
                rules::uploaded(&upload)?;
                self.check_task(&upload)?;
                self.change((&upload.tenant, &upload.queue), at, Cause::Other, out, |change| change.uploaded(&upload));
            }
            1 => {
                let asked: LeaseRequested = read(datum)?;
                rules::lease_requested(&asked)?;
                let (tenant, queue) = (asked.tenant.clone(), asked.queue.clone());
                self.change((&tenant, &queue), at, Cause::Other, out, |change| change.lease_requested(asked));
            }
            2 => {
                let heard: Heartbeat = read(datum)?;
                rules::heartbeat(&heard)?;
                let (tenant, queue) = (heard.tenant.clone(), heard.queue.clone());
                self.change((&tenant, &queue), at, Cause::Other, out, |change| change.heartbeat(heard));
            }
            3 => {
                let report: TaskReported = read(datum)?;
                rules::reported(&report)?;
                let cause = Cause::Report(&report);
                self.change((&report.tenant, &report.queue), at, cause, out, |change| change.reported(&report));
            }
            4 => {
                let act: TaskActed = read(datum)?;
                rules::acted(&act)?;
                self.change((&act.tenant, &act.queue), at, Cause::Person(&act.by), out, |change| change.acted(&act));
            }
            5 => {
                let learned: RunTimesLearned = read(datum)?;
                rules::learned(&learned)?;
                let (tenant, queue) = (learned.tenant.clone(), learned.queue.clone());
                self.change((&tenant, &queue), at, Cause::Other, out, |change| change.learned(learned));
            }
            other => return Err(Reject::Rule { field: "schema", rule: format!("there is no input schema {other}") }),
        }
        Ok(())
    }

    fn tick(&mut self, now: i64, offset: i64, out: &mut Output) {
        let due = self.timers.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| id.clone());
        for LaneId { tenant, queue } in due.collect::<Vec<_>>() {
            self.change((&tenant, &queue), (now, offset), Cause::Other, out, |change| change.time());
        }
    }

    fn due(&self) -> Option<i64> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn entry(&self, key: &[u8], datum: &mut Vec<u8>) -> Option<usize> {
        let (id, key) = keys::parse(key)?;
        self.lanes.get(&id)?.entry(&key, datum)
    }

    fn restore(&mut self, key: &[u8], schema: usize, datum: &[u8]) -> Result<(), Reject> {
        let rule = || Reject::Rule { field: "key", rule: "it is no key of an entry".to_owned() };
        let (id, _) = keys::parse(key).ok_or_else(rule)?;
        let make = || Lane::new(id.clone(), self.settings.dispatch.clone());
        self.lanes.entry(id.clone()).or_insert_with(make).restore(schema, datum)?;
        self.set_timer(&id);
        Ok(())
    }
}

impl Documents {
    /// A new task is named by its request, which must not be one that has named another.
    fn check_task(&self, upload: &DocumentUploaded) -> Result<(), Reject> {
        let id = LaneId { tenant: upload.tenant.clone(), queue: upload.queue.clone() };
        let known = self.lanes.get(&id).and_then(|lane| lane.documents.of_task(&upload.request_id));
        if known.is_none_or(|file_id| file_id == upload.file_id) {
            return Ok(());
        }
        Err(Reject::Rule { field: "request_id", rule: "it names the task of another document".to_owned() })
    }
}
