//! A Kafka broker: one KRaft node, made for tests that wait for it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};
use rustix::process::Signal;

use crate::jars::{self, KAFKA};
use crate::port::free_port;
use crate::process::Server;
use crate::{Error, Proxy, coordinators, probe};

/// Up in about 5 s on two free cores; the rest is for a machine that compiles at the same time.
const DEADLINE: Duration = Duration::from_secs(120);
/// One metadata request.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);

/// Small, quick, and quick to forget the dead: transactions of dead producers end within a second of their timeout,
/// 6 s sessions are allowed under both group protocols, and topics are never made by accident.
const PROPERTIES: &str = "\
process.roles=broker,controller
node.id=1
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
auto.create.topics.enable=false
delete.topic.enable=true
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=8
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=500
log.initial.task.delay.ms=1000
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000
log.cleaner.backoff.ms=1000
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.io.buffer.size=262144
num.network.threads=2
num.io.threads=4
";

/// A running broker with a directory of its own; dropped, it is killed and the directory removed.
#[derive(Debug)]
pub struct Kafka {
    server: Server,
    bootstrap: String,
    proxied: Option<String>,
}

impl Kafka {
    /// Starts a broker on free loopback ports and waits until its coordinators are at work.
    /// `properties` are broker properties that come after, so win over, the harness's own.
    ///
    /// # Errors
    /// Its jars cannot be had, or it does not come up within two minutes.
    pub fn start(properties: &[(&str, &str)]) -> Result<Self, Error> {
        Self::launch(properties, None)
    }

    /// As [`Kafka::start`], with a second listener that tells its clients to come by `proxy`, which is set to forward to it.
    /// Clients of [`Kafka::bootstrap`] go straight to the broker, as it does itself; those of the proxy's address go through
    /// the proxy with every request.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn start_behind(proxy: &Proxy, properties: &[(&str, &str)]) -> Result<Self, Error> {
        let kafka = Self::launch(properties, Some(proxy.port()))?;
        kafka.proxied.iter().for_each(|listener| proxy.forward_to(listener));
        Ok(kafka)
    }

    fn launch(properties: &[(&str, &str)], proxy: Option<u16>) -> Result<Self, Error> {
        let mut server = Server::new("kafka")?;
        let port = free_port().map_err(Error::io("binding a port on", "127.0.0.1"))?;
        let controller = free_port().map_err(Error::io("binding a port on", "127.0.0.1"))?;
        let behind = free_port().map_err(Error::io("binding a port on", "127.0.0.1"))?;
        let config = server.dir().join("server.properties");
        let mut text = properties_file(server.dir(), port, controller, properties);
        text.extend(proxy.map(|proxy| second_listener(port, controller, behind, proxy)));
        std::fs::write(&config, text).map_err(Error::io("writing", &config))?;
        format_storage(&config)?;
        server.set_command(broker_command(&config)?);
        let proxied = proxy.map(|_| format!("127.0.0.1:{behind}"));
        let bootstrap = format!("127.0.0.1:{port}");
        // Not by a client library: one that learns a proxy's address that forwards nothing yet may ask there and nowhere else.
        server.start(DEADLINE, || coordinators::answer(&bootstrap))?;
        Ok(Self { server, bootstrap, proxied })
    }

    /// `host:port` for clients.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// SIGKILL; returns when the process is gone. Data and port stay for [`Kafka::restart`].
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again on the same data and port (killing it first when it runs), and waits until it answers.
    ///
    /// # Errors
    /// It does not come up within two minutes.
    pub fn restart(&mut self) -> Result<(), Error> {
        let bootstrap = self.bootstrap.clone();
        self.server.start(DEADLINE, || answers(&bootstrap))
    }

    /// SIGSTOP: the broker keeps its connections and answers nothing.
    pub fn pause(&self) {
        self.server.signal(Signal::STOP);
    }

    /// SIGCONT after [`Kafka::pause`].
    pub fn resume(&self) {
        self.server.signal(Signal::CONT);
    }

    /// Process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Runs one of Kafka's own command-line tools against this broker; see [`kafka_tool`].
    ///
    /// # Errors
    /// As [`kafka_tool`].
    pub fn tool(&self, class: &str, args: &[&str]) -> Result<String, Error> {
        kafka_tool(&self.bootstrap, class, args)
    }
}

/// Runs one of Kafka's own command-line tools, with `--bootstrap-server` set, and returns what it printed on standard output.
/// `class` is a Java class, such as `org.apache.kafka.tools.consumer.group.ConsumerGroupCommand` (kafka-consumer-groups),
/// `org.apache.kafka.tools.TopicCommand` (kafka-topics) or `org.apache.kafka.tools.GetOffsetShell` (kafka-get-offsets).
///
/// # Errors
/// The jars cannot be had, or the tool ends with a status other than 0; some tools print an error and still end with 0.
pub fn kafka_tool(bootstrap: &str, class: &str, args: &[&str]) -> Result<String, Error> {
    let mut all = vec!["--bootstrap-server", bootstrap];
    all.extend_from_slice(args);
    run_class(class, &all)
}

/// The configuration file; a later line wins over an earlier one of the same name.
fn properties_file(dir: &Path, port: u16, controller: u16, properties: &[(&str, &str)]) -> String {
    let data = dir.join("data");
    let mut text = format!(
        "{PROPERTIES}log.dirs={}\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n",
        data.display()
    );
    for (name, value) in properties {
        text.push_str(&format!("{name}={value}\n"));
    }
    text
}

/// A listener on port `behind` whose clients are told that the broker is at port `proxy`.
fn second_listener(port: u16, controller: u16, behind: u16, proxy: u16) -> String {
    format!(
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT\n\
         inter.broker.listener.name=PLAINTEXT\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},PROXIED://127.0.0.1:{behind}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{proxy}\n"
    )
}

fn format_storage(config: &Path) -> Result<(), Error> {
    let config = config.display().to_string();
    // Any cluster id does: 22 characters of base64 for a UUID.
    run_class("kafka.tools.StorageTool", &["format", "-t", "TidemarkHarness0000000", "-c", &config]).map(drop)
}

fn broker_command(config: &Path) -> Result<Vec<String>, Error> {
    let mut command = java_command("512m", "kafka.Kafka")?;
    command.push(config.display().to_string());
    Ok(command)
}

/// `java` with the class path, up to and including the class. The quick compiler alone starts in half the time.
fn java_command(heap: &str, class: &str) -> Result<Vec<String>, Error> {
    let java = jars::java()?.display().to_string();
    let class_path = KAFKA.class_path()?;
    let heap = format!("-Xmx{heap}");
    let flags = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.apache.logging.log4j.level=WARN"];
    let mut command = vec![java, heap];
    command.extend(flags.map(String::from));
    command.extend(["-cp".to_owned(), class_path, class.to_owned()]);
    Ok(command)
}

fn run_class(class: &str, args: &[&str]) -> Result<String, Error> {
    let command = java_command("256m", class)?;
    let (java, flags) = command.split_first().ok_or(Error::MissingProgram { program: "java", package: "" })?;
    let output = Command::new(java).args(flags).args(args).output().map_err(Error::io("running", java))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let output_text = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    Err(Error::Tool { class: class.to_owned(), status: output.status.to_string(), output: output_text })
}

/// Yes when a broker is listed. The port is tried first: a client that finds it closed backs off for longer and longer.
pub(crate) fn answers(bootstrap: &str) -> Result<(), String> {
    probe::port_open(bootstrap)?;
    let client: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().map_err(|e| e.to_string())?;
    let metadata = client.client().fetch_metadata(None, METADATA_TIMEOUT).map_err(|e| e.to_string())?;
    if metadata.brokers().is_empty() { Err("no broker is registered yet".to_owned()) } else { Ok(()) }
}
