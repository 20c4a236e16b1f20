//! More than the job can take, or what it takes worst: memory stays under its bound, nothing dies, the lag can be seen and
//! drains, and every row is exact.

use std::time::{Duration, Instant};

use tidemark_harness::{Program, trials};

use crate::content::Shape;
use crate::publisher::Load;
use crate::rest::Verdict;
use crate::world::{PATIENCE, Settings, World};

/// The most memory that a process of the job may have had resident, whatever the load.
const MEMORY_BYTES_MAX: u64 = 768 << 20;
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often a process renews its lag metric.
const LAG_RENEWED: Duration = Duration::from_secs(2);

/// One load.
struct Overload {
    name: &'static str,
    shape: Shape,
    records_per_second: u64,
    records: u64,
    /// The view store answers so late.
    store_delay: Duration,
    /// The processes are stopped until everything is published, so that they are this much behind for sure.
    lag_min: u64,
    /// The result is for the page.
    is_kept: bool,
}

fn settings(partitions: u32) -> Settings {
    let ordinary = crate::trials::settings();
    let load = Load { repeat_one_in: 0, ..ordinary.load };
    Settings { partitions, dedupe: false, load, ..ordinary }
}

fn overload(name: &'static str, shape: Shape, records: u64) -> Overload {
    Overload {
        name,
        shape,
        records_per_second: 300_000,
        records,
        store_delay: Duration::ZERO,
        lag_min: 0,
        is_kept: true,
    }
}

/// Each kind of overload, sizes multiplied; only multiplied ones are for the page.
pub fn each_kind(times: u64) {
    let mut world = World::start(settings(4));
    let is_kept = times > 1;
    let load = |name, shape, records| Overload { is_kept, ..overload(name, shape, records * times) };
    let faster = load("publishers faster than the folds", Shape::Ordinary, 200_000);
    overloaded(&mut world, &Overload { lag_min: 1_000, ..faster });
    overloaded(&mut world, &load("hot key, 90 %", Shape::HotKey, 100_000));
    overloaded(&mut world, &load("late flood, 50 %", Shape::LateFlood, 30_000));
    overloaded(&mut world, &load("unique keys only", Shape::UniqueKeys, 20_000));
    let store_delay = Duration::from_millis(500);
    let slow = load("view store that takes 500 ms a write", Shape::Ordinary, 50_000);
    overloaded(&mut world, &Overload { store_delay, ..slow });
}

pub fn million_keys() {
    let mut world = World::start(settings(4));
    let shape = Shape::OneHour { keys: 1_000_000, since: world.publisher.next() };
    overloaded(&mut world, &overload("1,000,000 keys in one hour", shape, 2_000_000));
}

pub fn many_partitions() {
    let mut world = World::start(settings(200));
    overloaded(&mut world, &overload("200 partitions", Shape::Ordinary, 1_000_000));
}

/// Publishes the load, runs to rest, and checks.
fn overloaded(world: &mut World, load: &Overload) {
    let &Overload { name, shape, records_per_second, records, store_delay, lag_min, is_kept } = load;
    let (ordinary, from) = (world.settings.load, world.publisher.next());
    world.cql_proxy.delay(store_delay / 2);
    world.publisher.change(Load { shape, records_per_second, ..ordinary });
    if lag_min > 0 {
        world.jobs.iter().for_each(Program::pause);
    }
    let until = Instant::now() + 5 * PATIENCE;
    while world.publisher.next() < from + records {
        assert!(Instant::now() < until, "{name}: not published:\n{}", world.logs());
        std::thread::sleep(LOOK_EVERY);
    }
    world.publisher.change(ordinary);
    world.jobs.iter().for_each(Program::resume);
    let lag_max = lag_max(world);
    let verdict = world.rest_within(5 * PATIENCE);
    world.cql_proxy.delay(Duration::ZERO);
    let memory = world.jobs.iter().filter_map(|job| job.memory_bytes_max()).max().unwrap_or(0);
    let lag = await_no_lag(world);
    let published = world.publisher.next() - from;
    eprintln!(
        "{name}: {published} records, lag at most {lag_max}, drained in {:.1?}, memory at most {} MiB, {verdict:?}",
        verdict.drained,
        memory >> 20
    );
    if is_kept {
        save(name, published, memory, &verdict);
    }
    assert!(verdict.wrong.is_empty(), "{name}: {:#?}\n{}", verdict.wrong, world.logs());
    assert!(memory < MEMORY_BYTES_MAX, "{name}: {memory} bytes of memory");
    assert!(lag_max >= lag_min, "{name}: the lag metric says {lag_max} at most");
    assert!(lag.is_ok(), "{name}: the lag metric does not come down: {lag:?}");
    let dead = world.jobs.iter_mut().filter_map(|job| job.ended(Duration::ZERO)).count();
    assert_eq!(dead, 0, "{name}: a process has died:\n{}", world.logs());
}

/// The largest lag that the metrics say within two looks of the process at the log.
fn lag_max(world: &World) -> u64 {
    let looks = 2 * LAG_RENEWED.as_millis() / LOOK_EVERY.as_millis();
    let look = |_| {
        std::thread::sleep(LOOK_EVERY);
        world.lag()
    };
    (0..looks).map(look).max().unwrap_or(0)
}

/// Waits until the metrics say that next to nothing is left to read; the publisher has gone on slowly.
fn await_no_lag(world: &World) -> Result<(), u64> {
    let until = Instant::now() + PATIENCE / 4;
    loop {
        match world.lag() {
            // What comes within the 2 s between two looks of the process.
            lag if lag < 4 * world.settings.load.records_per_second => return Ok(()),
            lag if Instant::now() > until => return Err(lag),
            _ => std::thread::sleep(LOOK_EVERY),
        }
    }
}

fn save(load: &str, records: u64, memory_bytes: u64, verdict: &Verdict) {
    let dir = trials::results();
    std::fs::create_dir_all(&dir).unwrap();
    let result = serde_json::json!({
        "load": load,
        "records": records,
        "memory_bytes": memory_bytes,
        "bound_bytes": MEMORY_BYTES_MAX,
        "drained_ms": verdict.drained.as_millis() as u64,
        "exact": verdict.wrong.is_empty(),
        "stamp": trials::stamp(),
    });
    let name = load.replace(|c: char| !c.is_alphanumeric(), "-");
    std::fs::write(dir.join(format!("overload-{name}.json")), result.to_string()).unwrap();
}
