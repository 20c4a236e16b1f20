//! Real servers for a command, or for a person.

use std::process::{Command, ExitCode, ExitStatus};
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use clap::{Parser, Subcommand};
use tidemark_harness::jars::{CASSANDRA, Jars, KAFKA, REGISTRY};
use tidemark_harness::{CQL_ENV, Cassandra, Error, KAFKA_ENV, Kafka, REGISTRY_ENV, Registry};

/// Starts Kafka, Cassandra and a schema registry on free loopback ports, with data in a temporary directory that goes with them.
#[derive(Parser)]
#[command(name = "tidemark-servers")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Fetches the servers' jars into .tools/servers and ends.
    Fetch,
    /// Starts the servers, runs a command with their addresses in its environment, stops them; ends with the command's status.
    Run {
        /// The command and its arguments, after `--`.
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
    /// Starts the servers, prints their addresses and stays until Ctrl-C.
    Up,
}

struct Servers {
    kafka: Kafka,
    cassandra: Cassandra,
    registry: Registry,
}

fn main() -> ExitCode {
    let done = match Args::parse().what {
        What::Fetch => fetch_all().map(|()| ExitCode::SUCCESS),
        What::Run { command } => run(&command),
        What::Up => up(),
    };
    done.unwrap_or_else(|e| {
        eprintln!("tidemark-servers: {e}");
        ExitCode::FAILURE
    })
}

fn fetch_all() -> Result<(), Error> {
    for jars in [KAFKA, CASSANDRA, REGISTRY] {
        fetch(jars)?;
    }
    Ok(())
}

fn fetch(jars: Jars) -> Result<(), Error> {
    if !jars.is_there() {
        eprintln!("servers: fetching {} {} with maven (once) ...", jars.name, jars.version);
    }
    jars.ensure().map(drop)
}

fn run(command: &[String]) -> Result<ExitCode, Error> {
    let Some((program, args)) = command.split_first() else {
        return Ok(ExitCode::FAILURE);
    };
    let servers = Servers::start()?;
    let mut child = Command::new(program);
    child.args(args).envs(servers.addresses());
    let status = child.status().map_err(|source| Error::Io { doing: "running", path: program.into(), source })?;
    drop(servers);
    Ok(exit_code(status))
}

fn up() -> Result<ExitCode, Error> {
    let servers = Servers::start()?;
    for (name, value) in servers.addresses() {
        println!("export {name}={value}");
    }
    eprintln!("servers: up; Ctrl-C stops them and removes their data");
    // Ctrl-C ends this process, and the servers' watchdogs do the rest; parking may return early, hence the loop.
    loop {
        thread::park();
    }
}

/// The command's own status; 1 when a signal ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|c| u8::try_from(c).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

impl Servers {
    /// All three at once, after their jars: Maven runs one at a time, since its local repository is not made for two.
    fn start() -> Result<Self, Error> {
        fetch_all()?;
        thread::scope(|scope| {
            let kafka = scope.spawn(|| timed("kafka", KAFKA, || Kafka::start(&[])));
            let cassandra = scope.spawn(|| timed("cassandra", CASSANDRA, Cassandra::start));
            let registry = scope.spawn(|| timed("registry", REGISTRY, Registry::start));
            Ok(Self { kafka: join(kafka)?, cassandra: join(cassandra)?, registry: join(registry)? })
        })
    }

    fn addresses(&self) -> [(&'static str, &str); 3] {
        [(KAFKA_ENV, self.kafka.bootstrap()), (CQL_ENV, self.cassandra.address()), (REGISTRY_ENV, self.registry.url())]
    }
}

fn timed<T>(name: &str, jars: Jars, start: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    eprintln!("servers: starting {name} {} ...", jars.version);
    let began = Instant::now();
    let server = start()?;
    eprintln!("servers: {name} answers after {:.1} s", began.elapsed().as_secs_f64());
    Ok(server)
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T, Error>>) -> Result<T, Error> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
