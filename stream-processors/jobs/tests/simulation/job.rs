//! The flow job with windows of a minute, so that a few minutes of simulated time hold many.

use tidemark_core::{Dedupe, Input, Job, JobSpec, LatePolicy, Reject, Sample, ViewRow, Windowing};
use tidemark_jobs::flows::{FlowSums, FlowsHourly, Settings};

use crate::schedule::Config;

pub(crate) const WINDOW_MS: i64 = 60_000;
pub(crate) const GRACE_MS: i64 = 10_000;
pub(crate) const MAX_FUTURE_MS: i64 = 30_000;
pub(crate) const RETENTION_MS: i64 = 7 * 86_400_000;

/// `flows.hourly` with another specification.
pub(crate) struct MinuteFlows {
    job: FlowsHourly,
    spec: JobSpec,
}

impl MinuteFlows {
    pub(crate) fn new(config: &Config) -> Self {
        let job = FlowsHourly::new(&Settings::default());
        let spec = JobSpec {
            window: Windowing::Tumbling { size_ms: WINDOW_MS },
            grace_ms: GRACE_MS,
            late: if config.hold { LatePolicy::Hold } else { LatePolicy::Amend },
            amend_for_ms: config.amend_for_ms,
            idle_after_ms: config.idle_after_ms,
            max_future_ms: MAX_FUTURE_MS,
            merge_partitions: config.merge_partitions,
            retention_ms: RETENTION_MS,
            dedupe: config.dedupe_ms.map(|for_ms| Dedupe { by: "event_id".into(), for_ms }),
            ..job.spec().clone()
        };
        let settings = Settings { dedupe_ms: config.dedupe_ms.unwrap_or(0), ..Settings::default() };
        spec.validate().unwrap();
        Self { job: FlowsHourly::new(&settings), spec }
    }
}

impl Job for MinuteFlows {
    type Accumulator = FlowSums;
    fn spec(&self) -> &JobSpec {
        &self.spec
    }
    fn read<'a>(&'a self, input: Input<'a>, scratch: &'a mut Vec<u8>) -> Result<Sample<'a, FlowSums>, Reject> {
        self.job.read(input, scratch)
    }
    fn put_row(&self, row: &ViewRow<'_, FlowSums>, out: &mut Vec<u8>) {
        self.job.put_row(row, out);
    }
}
