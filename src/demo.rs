//! Synthetic flows for a first look: most of them on time, some out of order, delayed or late.
//!
//! They go through the public write API like anybody's. On first start a day of history comes first, hour by hour.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Flows in a tick of the live part, on average: 43,200 an hour.
const FLOWS_A_TICK: u64 = 6;
const TICK: Duration = Duration::from_millis(500);
/// Hours of history on first start, and flows in each, on average. Each flow stands for as many live ones as makes the
/// hours alike.
const HISTORY_HOURS: i64 = 24;
const HISTORY_FLOWS: u64 = 1_800;
const HISTORY_SCALE: u64 = 24;

/// Sequence of pseudo-random numbers (SplitMix64, Steele et al. 2014): good enough for a demo, and no dependency.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        // Squaring the draw makes the first ones common, as with real applications.
        let draw = self.below(1_000);
        let at = draw * draw * from.len() as u64 / 1_000_000;
        from.get(at as usize).copied().unwrap_or_default()
    }
}

const SRC: [&str; 6] = ["checkout", "web", "search", "mobile-api", "batch", "reports"];
const DEST: [&str; 8] =
    ["orders-db", "cache", "auth", "search-index", "payments.example:443", "mail", "warehouse", "cdn.example:443"];
const VPC: [&str; 3] = ["vpc-eu-1", "vpc-us-1", "vpc-ap-1"];

/// How far behind a live flow is: 90 % on time, 7 % up to five minutes out of order, 2.5 % delayed up to half an hour, the
/// rest late by hours.
fn delay_ms(random: &mut Random) -> i64 {
    let draw = random.below(1_000);
    let up_to = |random: &mut Random, ms: i64| random.below(ms as u64) as i64;
    match draw {
        0..900 => up_to(random, 1_000),
        900..970 => up_to(random, 5 * MINUTE_MS),
        970..995 => up_to(random, 30 * MINUTE_MS),
        _ => HOUR_MS + up_to(random, 4 * HOUR_MS),
    }
}

fn flow(random: &mut Random, observed_at: i64, scale: u64, out: &mut String) {
    use std::fmt::Write;
    let (src, dest, vpc) = (random.pick(&SRC), random.pick(&DEST), random.pick(&VPC));
    let (tx, rx) = ((40 + random.below(40_000)) * scale, (40 + random.below(400_000)) * scale);
    let _ = writeln!(
        out,
        r#"{{"src_app":"{src}","dest_app":"{dest}","vpc_id":"{vpc}","observed_at":{observed_at},"bytes_tx":{tx},"bytes_rx":{rx}}}"#
    );
}

/// Where to publish, and as whom.
struct Target {
    url: String,
    authorization: Option<String>,
}

/// Publishes until the process ends, with `authorization` where that is needed. `seeded` is a file that says the history has
/// been sent.
pub fn run(address: SocketAddr, authorization: Option<String>, clock: &tidemark_log::Clock, seeded: &Path) {
    let target = Target { url: format!("http://{address}/v1/flows"), authorization };
    let mut random = Random(clock() as u64);
    if !seeded.exists()
        && history(&target, clock(), &mut random).is_ok()
        && let Err(error) = std::fs::write(seeded, "")
    {
        tracing::warn!(%error, "the demo's history will be sent again at the next start");
    }
    let mut body = String::new();
    loop {
        std::thread::sleep(TICK);
        body.clear();
        let now = clock();
        for _ in 0..random.below(FLOWS_A_TICK * 2 + 1) {
            let observed_at = now - delay_ms(&mut random);
            flow(&mut random, observed_at, 1, &mut body);
        }
        if !body.is_empty() && post(&target, &body).is_err() {
            std::thread::sleep(TICK * 4); // the gateway says in its log why
        }
    }
}

fn history(target: &Target, now: i64, random: &mut Random) -> Result<(), ()> {
    let this_hour = now - now.rem_euclid(HOUR_MS);
    for hour in (1..=HISTORY_HOURS).rev() {
        let start = this_hour - hour * HOUR_MS;
        let flows = HISTORY_FLOWS / 2 + random.below(HISTORY_FLOWS);
        let mut body = String::new();
        for n in 0..flows {
            flow(random, start + (n * HOUR_MS as u64 / flows) as i64, HISTORY_SCALE, &mut body);
        }
        post_until_taken(target, &body)?;
    }
    Ok(())
}

/// The gateway may still be starting: tries for a minute.
fn post_until_taken(target: &Target, body: &str) -> Result<(), ()> {
    for _ in 0..120 {
        match post(target, body) {
            Ok(()) => return Ok(()),
            Err(()) => std::thread::sleep(TICK),
        }
    }
    Err(())
}

fn post(target: &Target, body: &str) -> Result<(), ()> {
    let mut request = ureq::post(&target.url).header("content-type", "application/x-ndjson");
    if let Some(authorization) = &target.authorization {
        request = request.header("authorization", authorization);
    }
    let sent = request.send(body);
    sent.map(|_| ()).map_err(|error| tracing::debug!(%error, "demo flows were not taken"))
}
