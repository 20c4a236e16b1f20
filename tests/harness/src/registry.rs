//! A schema registry: Apicurio in memory, whose Confluent API is under `/apis/ccompat/v7`.

use std::time::Duration;

use crate::jars::{self, REGISTRY};
use crate::port::free_port;
use crate::process::Server;
use crate::{Error, probe};

/// Up in about 3 s on two free cores; the rest is for a machine that compiles at the same time.
const DEADLINE: Duration = Duration::from_secs(120);
const API_PATH: &str = "/apis/ccompat/v7";
const FLAGS: &[&str] = &[
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dquarkus.http.host=127.0.0.1",
    "-Dquarkus.log.level=WARN",
];

/// A running registry; dropped, it is killed. It keeps its schemas in memory only: a restarted one is empty.
#[derive(Debug)]
pub struct Registry {
    server: Server,
    url: String,
}

impl Registry {
    /// Starts a registry on a free loopback port and waits until it lists its subjects.
    ///
    /// # Errors
    /// Its jars cannot be had, or it does not come up within two minutes.
    pub fn start() -> Result<Self, Error> {
        let mut server = Server::new("registry")?;
        let port = free_port().map_err(Error::io("binding a port on", "127.0.0.1"))?;
        let jar = REGISTRY.ensure()?.join(format!("apicurio-registry-app-{}-runner.jar", REGISTRY.version));
        let mut command = vec![jars::java()?.display().to_string()];
        command.extend(FLAGS.iter().map(|f| (*f).to_owned()));
        command.push(format!("-Dquarkus.http.port={port}"));
        command.extend(["-jar".to_owned(), jar.display().to_string()]);
        server.set_command(command);
        let mut registry = Self { server, url: format!("http://127.0.0.1:{port}{API_PATH}") };
        registry.restart()?;
        Ok(registry)
    }

    /// Base URL of the Confluent API, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again on the same port, empty, and waits until it answers.
    ///
    /// # Errors
    /// It does not come up within two minutes.
    pub fn restart(&mut self) -> Result<(), Error> {
        let subjects = format!("{}/subjects", self.url);
        self.server.start(DEADLINE, || probe::http_ok(&subjects))
    }
}
