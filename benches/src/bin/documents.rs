//! Many small documents and one large one through the running binary: documents a second from the first upload to the last one
//! done, how resident memory grows meanwhile, and what memory a streamed upload takes.
//!
//! Reports lines `documents …` and fails when a document does not end done.

use anyhow::Context as _;
use clap::Parser;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Uploads at a time.
const UPLOADERS: usize = 4;
/// How often memory and counts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Nothing may stand still for longer.
const STALL: Duration = Duration::from_secs(60);

#[derive(Debug, Parser)]
struct Args {
    /// The binary that is measured.
    #[arg(long, default_value = "target/release/tidemark")]
    tidemark: PathBuf,
    /// Small documents.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    documents: u32,
    /// Workers, one document at a time each.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Bytes of the large document; 0 for none.
    #[arg(long, default_value_t = 1 << 30)]
    large_bytes: u64,
}

/// The platform; it ends with the value.
struct Platform {
    child: Child,
    url: String,
}

impl Drop for Platform {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let dir = tempfile::tempdir()?;
    let platform = Platform::start(&args, dir.path())?;
    small(&platform, &args)?;
    if args.large_bytes > 0 {
        large(&platform, args.large_bytes)?;
    }
    Ok(())
}

impl Platform {
    fn start(args: &Args, dir: &Path) -> anyhow::Result<Self> {
        let config = dir.join("tidemark.toml");
        let (workers, most) = (args.workers, args.large_bytes.max(1 << 20));
        std::fs::write(&config, format!("[documents]\nworkers = {workers}\nmax_bytes = {most}\n"))?;
        let address = format!("127.0.0.1:{}", tidemark_harness::free_port()?);
        let child = Command::new(&args.tidemark)
            .args(["up", "--listen", &address, "--config"])
            .arg(&config)
            .arg("--data-dir")
            .arg(dir.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{}: build it with cargo build --release", args.tidemark.display()))?;
        let platform = Self { child, url: format!("http://{address}") };
        let began = Instant::now();
        while platform.get("/v1/health").is_err() {
            anyhow::ensure!(began.elapsed() < STALL, "the platform is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(platform)
    }

    fn get(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let mut answer = ureq::get(format!("{}{path}", self.url)).call()?;
        Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
    }

    fn upload(&self, name: &str, body: impl ureq::AsSendBody) -> anyhow::Result<()> {
        let url = format!("{}/v1/documents?name={name}&owner=bench&mail=", self.url);
        ureq::post(url).header("content-type", "application/octet-stream").send(body)?;
        Ok(())
    }

    /// Documents in a state.
    fn count(&self, state: &str) -> anyhow::Result<u64> {
        let answer = self.get("/v1/documents?limit=1")?;
        Ok(answer.pointer(&format!("/counts/{state}")).and_then(serde_json::Value::as_u64).unwrap_or(0))
    }

    /// Resident memory of the process itself, bytes: now, and the most there was.
    fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
            kib.map(|kib| kib << 10).with_context(|| format!("no {name} in the status of the process"))
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// Begins to count the most memory anew.
    fn forget_peak(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }
}

/// A tenth of the documents warms everything up; the others are measured.
fn small(platform: &Platform, args: &Args) -> anyhow::Result<()> {
    let warm = (args.documents / 10).max(1);
    run(platform, 0, warm)?;
    let (before, _) = platform.memory()?;
    let began = Instant::now();
    run(platform, warm, warm + args.documents)?;
    let seconds = began.elapsed().as_secs_f64();
    let (after, peak) = platform.memory()?;
    println!(
        "documents small={} workers={} seconds={seconds:.1} per_second={:.1} rss_before_mb={:.1} rss_after_mb={:.1} peak_mb={:.1} growth_percent={:.1}",
        args.documents,
        args.workers,
        f64::from(args.documents) / seconds,
        mb(before),
        mb(after),
        mb(peak),
        (after as f64 / before as f64 - 1.0) * 100.0
    );
    Ok(())
}

/// Uploads documents `from..to`, and waits until as many are done in all.
fn run(platform: &Platform, from: u32, to: u32) -> anyhow::Result<()> {
    let next = AtomicUsize::new(from as usize);
    let upload = || -> anyhow::Result<()> {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= to as usize {
                return Ok(());
            }
            platform.upload(&format!("{n}.txt"), text(n).as_bytes())?;
        }
    };
    let uploaded = std::thread::scope(|scope| {
        let uploaders: Vec<_> = (0..UPLOADERS).map(|_| scope.spawn(upload)).collect();
        uploaders
            .into_iter()
            .map(|uploader| uploader.join().map_err(|_| anyhow::anyhow!("an uploader panicked"))?)
            .collect::<anyhow::Result<Vec<()>>>()
    });
    uploaded?;
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let (done, failed) = (platform.count("DONE")?, platform.count("ERROR")?);
        anyhow::ensure!(failed == 0, "{failed} documents ended in error");
        if done >= u64::from(to) {
            return Ok(());
        }
        if done != seen {
            (seen, since) = (done, Instant::now());
        }
        anyhow::ensure!(since.elapsed() < STALL, "{done} of {to} documents are done, and no more for {STALL:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A page of English, each its own.
fn text(n: usize) -> String {
    let line = format!(
        "Order {n} of 2026-03-{:02} comes to EUR {}.{:02}; write to orders{n}@example.com about it.\n",
        n % 28 + 1,
        n % 900 + 10,
        n % 100
    );
    let rest = "The goods are delivered within three days, and the invoice is due after thirty of them.\n";
    line + &rest.repeat(10)
}

/// Bytes that no two places share, so that nothing can be saved on them.
struct Noise {
    left: u64,
    state: u64,
}

impl Read for Noise {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        for chunk in out.iter_mut().take(length).collect::<Vec<_>>().chunks_mut(8) {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            for (byte, noise) in chunk.iter_mut().zip(self.state.to_be_bytes()) {
                **byte = noise;
            }
        }
        self.left -= length as u64;
        Ok(length)
    }
}

fn large(platform: &Platform, bytes: u64) -> anyhow::Result<()> {
    platform.forget_peak()?;
    let (before, _) = platform.memory()?;
    let began = Instant::now();
    let body = ureq::SendBody::from_owned_reader(Noise { left: bytes, state: 1 });
    platform.upload("large.bin", body)?;
    let seconds = began.elapsed().as_secs_f64();
    let (_, peak) = platform.memory()?;
    println!(
        "documents large_mb={:.0} seconds={seconds:.1} mb_per_second={:.0} memory_mb={:.1}",
        mb(bytes),
        mb(bytes) / seconds,
        mb(peak.saturating_sub(before))
    );
    Ok(())
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
