//! The faults. Each does its work so many times and says how long it took each time until every stage had committed anew.

use std::time::{Duration, Instant};

use tidemark_harness::Program;

use crate::content::Shape;
use crate::publisher::Load;
use crate::trap::Loss;
use crate::world::{PATIENCE, SESSION, Settings, World};

/// A process that is to die at a failpoint comes to it within this time.
const DEATH: Duration = Duration::from_secs(30);
/// [`Settings::recovery_max`] where nothing else is at work.
pub const RECOVERY_MAX: Duration = Duration::from_secs(10);
/// The same among all other tests, on a machine that may be slow: there the figures are checked, and that it does go on.
const RECOVERY_MAX_CROWDED: Duration = Duration::from_secs(40);
/// How long everything is left to run between two faults, milliseconds, at random.
const BETWEEN_MS: (u64, u64) = (150, 900);

/// Recovery times of a fault, one a trial.
pub type Recoveries = Vec<Duration>;

/// What a broker answers that refuses a request of an older epoch: INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, PRODUCER_FENCED.
const REFUSED: [i16; 3] = [47, 48, 90];

/// Every step in and around a commit at which a process can die.
pub const STEPS: [&str; 10] = [
    "transaction-produced@partial",
    "transaction-offsets-sent@partial",
    "transaction-flushed@partial",
    "transaction-committed@partial",
    "transaction-produced@merge",
    "transaction-offsets-sent@merge",
    "transaction-flushed@merge",
    "transaction-committed@merge",
    "prepared@view-writer",
    "transaction-flushed@view-writer",
];

/// Steps between a request and its records' being let go of.
pub const SPOOL_STEPS: [&str; 2] = ["spool-synced", "spool-published"];

impl World {
    fn between(&mut self) {
        self.sleep_ms(BETWEEN_MS.0, BETWEEN_MS.1);
    }

    /// SIGKILL at any moment; started again at once, as a supervisor does.
    pub fn kills(&mut self, trials: usize) -> Recoveries {
        (0..trials)
            .map(|_| {
                self.between();
                let at = self.any_job();
                self.jobs[at].kill();
                self.restart(at, Instant::now())
            })
            .collect()
    }

    fn restart(&mut self, at: usize, killed: Instant) -> Duration {
        self.jobs[at].start(&[]).unwrap();
        // Asked only now: the answer waits for the transaction that the dead process left open.
        let before = self.commits();
        let recovered = self.await_commits(killed, &before);
        assert!(
            recovered < self.settings.recovery_max,
            "processing again {recovered:?} after a kill:\n{}",
            self.logs()
        );
        recovered
    }

    /// Death at exact steps, one after the other.
    pub fn kills_at(&mut self, steps: &[&str]) -> Recoveries {
        let die = |step: &&str| {
            let at = self.any_job();
            let count = 1 + self.random.below(6);
            self.die_at(at, &format!("{step}:{count}"));
            let killed = Instant::now();
            self.restart(at, killed)
        };
        steps.iter().map(die).collect()
    }

    /// Starts a process that dies at a failpoint, and waits for that.
    fn die_at(&mut self, at: usize, failpoint: &str) {
        self.jobs[at].start(&[("TIDEMARK_FAILPOINT", failpoint)]).unwrap();
        let status = self.jobs[at].ended(DEATH);
        assert!(status.is_some(), "{failpoint} was not reached in {DEATH:?}:\n{}", self.logs());
    }

    /// Death in a restore, and in the restore after that.
    pub fn kills_in_restore(&mut self, trials: usize) -> Recoveries {
        (0..trials)
            .map(|_| {
                let at = self.any_job();
                self.jobs[at].kill();
                for _ in 0..2 {
                    self.forget_local_state(at);
                    let count = 1 + self.random.below(50);
                    self.die_at(at, &format!("restored-record:{count}"));
                }
                self.forget_local_state(at);
                self.restart(at, Instant::now())
            })
            .collect()
    }

    /// Frozen past its session while others take over, then it goes on as if nothing had been.
    pub fn zombies(&mut self, trials: usize) -> Recoveries {
        (0..trials)
            .map(|_| {
                self.between();
                let at = self.any_job();
                self.jobs[at].pause();
                let (frozen, before) = (Instant::now(), self.commits());
                let taken_over = self.await_commits(frozen, &before);
                std::thread::sleep((SESSION + Duration::from_secs(1)).saturating_sub(frozen.elapsed()));
                self.jobs[at].resume();
                taken_over
            })
            .collect()
    }

    /// An EndTxn that the broker gets in the middle of the next transaction. It must refuse it.
    pub fn late_end_txns(&mut self, loss: Loss, trials: usize) -> (Recoveries, usize) {
        let (mut recoveries, mut taken) = (Recoveries::new(), 0);
        for trial in 0..trials {
            self.between();
            let stage = ["merge", "partial"][trial % 2];
            let (began, before) = (Instant::now(), self.commits());
            let nth = 2 + self.random.below(4) as u32;
            self.trap.arm(loss, stage, nth);
            let answer = self.trap.answer(PATIENCE);
            let Some(code) = answer else { panic!("no EndTxn was delivered late:\n{}", self.logs()) };
            eprintln!("late EndTxn of {stage} ({loss:?}) before request {nth}: the broker answers with error {code}");
            assert!(code == 0 || REFUSED.contains(&code), "it was not delivered, or not refused: {code}");
            taken += usize::from(code == 0);
            recoveries.push(self.await_commits(began, &before));
        }
        (recoveries, taken)
    }

    /// SIGKILL of the broker, started again on its data.
    pub fn broker_kills(&mut self, trials: usize) -> Recoveries {
        (0..trials)
            .map(|_| {
                self.between();
                let before = self.commits();
                self.kafka.kill();
                self.kafka.restart().unwrap();
                self.await_commits(Instant::now(), &before)
            })
            .collect()
    }

    /// The broker keeps its connections and answers nothing for a while.
    pub fn broker_stops(&mut self, lengths: &[Duration]) -> Recoveries {
        let stop = |length: &Duration| {
            self.between();
            let before = self.commits();
            self.kafka.pause();
            std::thread::sleep(*length);
            self.kafka.resume();
            self.await_commits(Instant::now(), &before)
        };
        lengths.iter().map(stop).collect()
    }

    /// No way from the jobs to the broker for a while, then a slow one, then a good one.
    pub fn network_cuts(&mut self, lengths: &[Duration]) -> Recoveries {
        let cut = |length: &Duration| {
            self.between();
            let before = self.commits();
            self.kafka_proxy.cut(true);
            std::thread::sleep(*length);
            self.kafka_proxy.delay(Duration::from_millis(50));
            self.kafka_proxy.cut(false);
            let recovery = self.await_commits(Instant::now(), &before);
            self.kafka_proxy.delay(Duration::ZERO);
            recovery
        };
        lengths.iter().map(cut).collect()
    }

    /// A third process joins and leaves, and joins and is killed.
    pub fn rebalances(&mut self, trials: usize) -> Recoveries {
        let mut third = self.program("c");
        (0..trials)
            .map(|trial| {
                third.start(&[]).unwrap();
                std::thread::sleep(Duration::from_secs(2));
                let before = self.commits();
                let left = Instant::now();
                if trial % 2 == 0 {
                    let status = third.stop(PATIENCE);
                    assert!(status.is_some_and(|status| status.success()), "{status:?}:\n{}", third.log_tail());
                } else {
                    third.kill();
                }
                self.await_commits(left, &before)
            })
            .collect()
    }

    /// A third process that has its share is asked to end: from then until every partition has committed anew elsewhere.
    pub fn graceful_stops(&mut self, trials: usize) -> Recoveries {
        let mut third = self.program("c");
        let stop = |_| {
            let before = self.commits();
            let started = Instant::now();
            third.start(&[]).unwrap();
            self.await_commits(started, &before);
            self.between();
            let before = self.commits();
            let asked = Instant::now();
            let status = third.stop(PATIENCE);
            assert!(status.is_some_and(|status| status.success()), "{status:?}:\n{}", third.log_tail());
            self.await_commits(asked, &before)
        };
        (0..trials).map(stop).collect()
    }

    /// The broker is gone for a while; the gateway goes on taking records at the same rate.
    pub fn outages(&mut self, lengths: &[Duration]) -> Recoveries {
        let outage = |length: &Duration| {
            self.between();
            let (before, accepted) = (self.commits(), self.publisher.acknowledged());
            self.kafka.kill();
            std::thread::sleep(*length);
            let taken = self.publisher.acknowledged() - accepted;
            let offered = self.settings.load.records_per_second * length.as_millis() as u64 / 1000;
            assert!(
                taken > offered / 2,
                "{taken} of {offered} records taken while the broker was gone:\n{}",
                self.logs()
            );
            self.kafka.restart().unwrap();
            self.await_commits(Instant::now(), &before)
        };
        lengths.iter().map(outage).collect()
    }

    /// SIGKILL of the gateway at any moment.
    pub fn gateway_kills(&mut self, trials: usize) -> Recoveries {
        (0..trials)
            .map(|_| {
                self.between();
                self.gateway().kill();
                self.restart_gateway(Instant::now())
            })
            .collect()
    }

    /// Death of the gateway at exact steps.
    pub fn gateway_kills_at(&mut self, steps: &[&str]) -> Recoveries {
        let die = |step: &&str| {
            let failpoint = format!("{step}:{}", 1 + self.random.below(20));
            self.gateway().start(&[("TIDEMARK_FAILPOINT", &failpoint)]).unwrap();
            let status = self.gateway().ended(DEATH);
            assert!(status.is_some(), "{failpoint} was not reached in {DEATH:?}:\n{}", self.logs());
            self.restart_gateway(Instant::now())
        };
        steps.iter().map(die).collect()
    }

    fn gateway(&mut self) -> &mut Program {
        &mut self.gateway.as_mut().unwrap().program
    }

    fn restart_gateway(&mut self, killed: Instant) -> Duration {
        self.gateway().start(&[]).unwrap();
        let before = self.commits();
        self.await_commits(killed, &before)
    }

    /// No way to the view store for a while, then one that takes half a second for each write.
    pub fn store_failures(&mut self, down: Duration, slow: Duration) -> Recoveries {
        self.cql_proxy.cut(true);
        std::thread::sleep(down);
        self.cql_proxy.delay(Duration::from_millis(250));
        self.cql_proxy.cut(false);
        std::thread::sleep(slow);
        let before = self.commits();
        self.cql_proxy.delay(Duration::ZERO);
        vec![self.await_commits(Instant::now(), &before)]
    }
}

/// A load of everything ordinary, repeats and unreadable records in it.
pub fn settings() -> Settings {
    let seed = (tidemark_log::system_clock())() as u64;
    let seed = std::env::var("TIDEMARK_FAULTS_SEED").map_or(seed, |seed| seed.parse().unwrap());
    let load = Load { shape: Shape::Ordinary, records_per_second: 2_000, poison_one_in: 300, repeat_one_in: 10 };
    let recovery_max = RECOVERY_MAX_CROWDED;
    Settings { seed, keys: 300, load, dedupe: true, gateway: false, partitions: 4, recovery_max }
}

/// Trials of an EndTxn that arrives late: none may end a later transaction.
pub fn late(world: &mut World, loss: Loss, trials: usize) -> Recoveries {
    let (recoveries, taken) = world.late_end_txns(loss, trials);
    assert_eq!(taken, 0, "the broker took {taken} of {trials} EndTxns that came late for a later transaction's");
    recoveries
}
