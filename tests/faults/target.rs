//! Where records are published: straight to Kafka, or to a gateway by HTTP.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tidemark_jobs::flows::TOPIC;
use tidemark_log::{Error, Log, Outgoing, Producer, Sink};

use crate::content::Content;
use crate::publisher::{Load, POISON};
use crate::random::Random;

/// An answer of the gateway may take so long; then it is not known what became of the batch.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Acknowledged,
    /// For sure nothing of it is there.
    Refused,
    Unknown,
}

/// Where to.
pub enum Target {
    Log { log: Arc<dyn Log>, producer: Option<Box<dyn Producer>> },
    Gateway { url: String, agent: ureq::Agent },
}

impl Target {
    pub fn log(log: Arc<dyn Log>) -> Self {
        Self::Log { log, producer: None }
    }

    /// The gateway at `host:port`.
    pub fn gateway(address: &str) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_TIMEOUT));
        Self::Gateway { url: format!("http://{address}/v1/flows"), agent: config.build().into() }
    }

    /// Gets ready; false when that fails for now.
    pub fn open(&mut self) -> bool {
        if let Self::Log { log, producer: producer @ None } = self {
            *producer = log.producer("faults-publisher").ok();
            return producer.is_some();
        }
        true
    }

    /// Publishes the records of these numbers as one batch.
    pub fn send(&mut self, content: &Content, load: Load, numbers: Range<u64>) -> Sent {
        match self {
            Self::Log { producer, .. } => {
                let Some(open) = producer else { return Sent::Refused };
                match open.commit(&mut |sink| content.write(load, numbers.clone(), sink)) {
                    Ok(()) => Sent::Acknowledged,
                    Err(error) => {
                        *producer = None;
                        if matches!(error, Error::Indefinite(_)) { Sent::Unknown } else { Sent::Refused }
                    }
                }
            }
            Self::Gateway { url, agent } => {
                let request = agent.post(&*url).header("content-type", "application/x-ndjson");
                match request.send(content.ndjson(load, numbers)).map(|answer| answer.status().as_u16()) {
                    Ok(202) => Sent::Acknowledged,
                    Ok(507) => Sent::Refused,
                    Ok(_) | Err(_) => Sent::Unknown,
                }
            }
        }
    }
}

impl Content {
    /// The same records whenever it is called for the same numbers.
    fn write(&self, load: Load, numbers: Range<u64>, sink: &mut dyn Sink) -> Result<(), Error> {
        let mut random = Random::new(numbers.start);
        let mut value = Vec::new();
        for number in numbers {
            self.put(load.shape, number, &mut value);
            sink.send(self.outgoing(number, &value))?;
            if random.one_in(load.repeat_one_in) {
                sink.send(self.outgoing(number, &value))?;
            }
            if random.one_in(load.poison_one_in) {
                self.put_poison(number, &mut random, &mut value);
                sink.send(Outgoing { key: Some(POISON), ..self.outgoing(number, &value) })?;
            }
        }
        Ok(())
    }

    /// The same records as JSON lines, those that cannot be counted left out: a gateway refuses them.
    fn ndjson(&self, load: Load, numbers: Range<u64>) -> Vec<u8> {
        let mut random = Random::new(numbers.start);
        let mut lines = Vec::new();
        for number in numbers {
            let from = lines.len();
            self.put_json(load.shape, number, &mut lines);
            if random.one_in(load.repeat_one_in) {
                lines.extend_from_within(from..);
            }
        }
        lines
    }

    fn outgoing<'v>(&self, number: u64, value: &'v [u8]) -> Outgoing<'v> {
        let partition = (number % u64::from(self.active)) as u32;
        Outgoing { topic: TOPIC, partition, value: Some(value), ..Outgoing::default() }
    }
}
