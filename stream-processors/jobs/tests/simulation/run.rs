//! One seed from its schedule to the checks.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::check::{self, Checked};
use crate::schedule::Schedule;
use crate::world::{SLOTS, Work, World};
use tidemark_log::simulated::Injected;
use tidemark_runtime::metrics::Origins;

/// What all runs together have done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) checked: Checked,
    pub(crate) work: Work,
    pub(crate) injected: Injected,
    pub(crate) origins: Origins,
}

/// Plays the schedule, lets it come to rest and checks it.
pub(crate) fn run(schedule: &Schedule, totals: &mut Totals) -> Result<(), String> {
    let played = catch_unwind(AssertUnwindSafe(|| play(schedule)));
    let (checked, work, injected, origins) = played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("no message")))
    })?;
    totals.add(&checked, &work, &injected);
    totals.origins = totals.origins.plus(origins);
    Ok(())
}

fn play(schedule: &Schedule) -> Result<(Checked, Work, Injected, Origins), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    let mut slots: Vec<_> = std::iter::repeat_with(|| None).take(SLOTS).collect();
    let mut world = World::new(schedule, &runtime, &mut slots)?;
    schedule.actions.iter().try_for_each(|action| world.act(action))?;
    world.rest()?;
    let checked = check::check(&world)?;
    if checked.records < world.work.acknowledged || world.work.joins < 3 {
        return Err(format!("next to nothing was done: {:?}", world.work));
    }
    let origins = world.processes.iter().map(|process| process.metrics.origins());
    let origins = origins.fold(Origins::default(), Origins::plus);
    Ok((checked, world.work, world.log.injected(), origins))
}

impl Totals {
    fn add(&mut self, checked: &Checked, work: &Work, injected: &Injected) {
        let Checked { records, rows, late, sealed_out, outrun, markers, views_struck, .. } = checked;
        let Checked { sessions, retracted, sessions_sealed_out, joined, second, .. } = checked;
        self.checked.joined += joined;
        self.checked.second += second;
        self.checked.sessions += sessions;
        self.checked.retracted += retracted;
        self.checked.sessions_sealed_out += sessions_sealed_out;
        self.checked.records += records;
        self.checked.rows += rows;
        self.checked.late += late;
        self.checked.sealed_out += sealed_out;
        self.checked.outrun += outrun;
        self.checked.markers += markers;
        self.checked.views_struck += views_struck;
        let Work { steps, joins, errors, sent, acknowledged } = work;
        self.work.steps += steps;
        self.work.joins += joins;
        self.work.errors += errors;
        self.work.sent += sent;
        self.work.acknowledged += acknowledged;
        self.injected = Injected {
            retriable: self.injected.retriable + injected.retriable,
            fenced: self.injected.fenced + injected.fenced,
            answer_lost: self.injected.answer_lost + injected.answer_lost,
            commit_lost: self.injected.commit_lost + injected.commit_lost,
            open: self.injected.open + injected.open,
            delayed: self.injected.delayed + injected.delayed,
            sync_fails: self.injected.sync_fails + injected.sync_fails,
            slow: self.injected.slow + injected.slow,
            crashes: self.injected.crashes + injected.crashes,
            refused_late: self.injected.refused_late + injected.refused_late,
        };
    }

    /// INV-5: runs that do nothing prove nothing. Each kind of fault has struck, and there was work between the faults.
    pub(crate) fn assert_floors(&self, seeds: u64) {
        let Self { checked, work, injected, origins } = self;
        let each = [
            ("records", checked.records, 20),
            ("rows", checked.rows, 5),
            ("markers", checked.markers, 8),
            ("steps", work.steps, 120),
            ("joins", work.joins, 6),
            ("acknowledged records", work.acknowledged, 15),
            ("faults of the log", injected.sum(), 2),
            ("sessions", checked.sessions, 2),
            ("records with a row of the joined table", checked.joined, 1),
            ("records of a second topic", checked.second, 1),
        ];
        for (what, got, floor) in each {
            assert!(got >= seeds * floor, "{what}: {got} over {seeds} seeds, at least {floor} each are wanted");
        }
        let some = [
            checked.late,
            checked.sealed_out,
            checked.outrun,
            checked.views_struck,
            checked.retracted,
            checked.sessions_sealed_out,
            injected.retriable,
            injected.slow,
            injected.fenced,
            injected.answer_lost,
            injected.commit_lost,
            injected.open,
            injected.delayed,
            injected.sync_fails,
            injected.crashes,
            injected.refused_late,
            origins.changelog,
            origins.checkpoint,
            origins.standby,
            origins.removing,
            origins.windows,
        ];
        assert!(
            seeds < 200 || some.iter().all(|&n| n > 0),
            "some kind of fault has never struck, or some way to restore was never taken: {self:?}"
        );
    }
}
