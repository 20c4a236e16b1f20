//! A CQL store: one Cassandra node. ScyllaDB, which production runs, speaks the same CQL but comes as no package.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::Error;
use crate::cql;
use crate::jars::{self, CASSANDRA};
use crate::port::free_port;
use crate::process::Server;

/// Up in about 5 s on two free cores; the rest is for a machine that compiles at the same time.
const DEADLINE: Duration = Duration::from_secs(180);

/// One token starts quickest. An acknowledged write is on disk (`batch`), so that a killed store has it again.
const CONFIG: &str = "\
cluster_name: tidemark
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
commitlog_sync: batch
commitlog_segment_size: 16MiB
auto_snapshot: false
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{seeds: '127.0.0.1'}]
";

/// Without it the store logs every step of its start at debug level.
const LOGBACK: &str = r#"<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5level %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="OUT"/></root>
</configuration>
"#;

/// Packages of the JDK that Cassandra 5.0 reaches into on Java 17 (its own conf/jvm17-server.options).
const EXPORTS: &[&str] = &[
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/java.lang.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
];
const OPENS: &[&str] = &[
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
];

/// Serial collector and quick compiler: least memory, quickest start. A node alone need not wait for gossip or its ring.
/// `jmx` is left off: it would listen on every address.
const FLAGS: &[&str] = &[
    "-Xms512m",
    "-Xmx512m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    // Java 21 refuses the security manager that Cassandra 5.0 sets, unless told; 17 takes the flag too.
    "-Djava.security.manager=allow",
    "-Djdk.attach.allowAttachSelf=true",
    "-Dcassandra-foreground=yes",
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.ring_delay_ms=1",
];

/// A running store with a directory of its own; dropped, it is killed and the directory removed. One data center, `datacenter1`.
#[derive(Debug)]
pub struct Cassandra {
    server: Server,
    address: String,
}

impl Cassandra {
    /// Starts a node on free loopback ports and waits until it answers a query.
    ///
    /// # Errors
    /// Its jars cannot be had, or it does not come up within three minutes.
    pub fn start() -> Result<Self, Error> {
        let mut server = Server::new("cassandra")?;
        let port = free_port().map_err(Error::io("binding a port on", "127.0.0.1"))?;
        let storage = free_port().map_err(Error::io("binding a port on", "127.0.0.1"))?;
        write(server.dir().join("logback.xml"), LOGBACK)?;
        write(server.dir().join("cassandra.yaml"), &config(server.dir(), port, storage))?;
        server.set_command(command(server.dir())?);
        let mut cassandra = Self { server, address: format!("127.0.0.1:{port}") };
        cassandra.restart()?;
        Ok(cassandra)
    }

    /// `host:port` of the CQL protocol.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// SIGKILL; returns when the process is gone. Data and port stay for [`Cassandra::restart`].
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again on the same data and port (killing it first when it runs), and waits until it answers.
    ///
    /// # Errors
    /// It does not come up within three minutes.
    pub fn restart(&mut self) -> Result<(), Error> {
        let address = self.address.clone();
        self.server.start(DEADLINE, || cql::ask(&address, "SELECT key FROM system.local"))
    }

    /// SIGSTOP: the store keeps its connections and answers nothing.
    pub fn pause(&self) {
        self.server.signal(Signal::STOP);
    }

    /// SIGCONT after [`Cassandra::pause`].
    pub fn resume(&self) {
        self.server.signal(Signal::CONT);
    }

    /// Process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }
}

fn write(path: PathBuf, text: &str) -> Result<(), Error> {
    std::fs::write(&path, text).map_err(Error::io("writing", path))
}

fn config(dir: &Path, port: u16, storage: u16) -> String {
    let dir = dir.display();
    format!(
        "{CONFIG}native_transport_port: {port}\n\
         storage_port: {storage}\n\
         data_file_directories: ['{dir}/data']\n\
         commitlog_directory: '{dir}/commitlog'\n\
         hints_directory: '{dir}/hints'\n\
         saved_caches_directory: '{dir}/saved_caches'\n\
         cdc_raw_directory: '{dir}/cdc'\n"
    )
}

fn command(dir: &Path) -> Result<Vec<String>, Error> {
    let mut command = vec![jars::java()?.display().to_string()];
    command.extend(FLAGS.iter().map(|f| (*f).to_owned()));
    command.extend(EXPORTS.iter().map(|p| format!("--add-exports={p}=ALL-UNNAMED")));
    command.extend(OPENS.iter().map(|p| format!("--add-opens={p}=ALL-UNNAMED")));
    command.push(format!("-javaagent:{}", jamm()?.display()));
    for (property, file) in [("cassandra.config", "cassandra.yaml"), ("logback.configurationFile", "logback.xml")] {
        command.push(format!("-D{property}=file://{}/{file}", dir.display()));
    }
    command.push(format!("-Dcassandra.storagedir={}", dir.display()));
    command.extend([
        "-cp".to_owned(),
        CASSANDRA.class_path()?,
        "org.apache.cassandra.service.CassandraDaemon".to_owned(),
    ]);
    Ok(command)
}

/// The agent that measures object sizes; found by name, since its version comes with Cassandra's.
fn jamm() -> Result<PathBuf, Error> {
    let jars = CASSANDRA.ensure()?;
    let entries = std::fs::read_dir(&jars).map_err(Error::io("reading", &jars))?;
    let mut names = entries.filter_map(Result::ok).map(|e| e.path());
    let is_jamm = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("jamm-"));
    names.find(is_jamm).ok_or_else(|| std::io::Error::other("jamm is not there")).map_err(Error::io("reading", jars))
}
