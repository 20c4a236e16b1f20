//! `tidemark doctor transactions`: lists the transactions that are open on the Kafka cluster, and ends orphans.
//!
//! An orphan is open for longer than its producer wanted: nobody is there to end it, and the broker has not done so. Readers of
//! its partitions wait for it. It is ended by fencing: a new producer of its id takes over, and Kafka aborts what the old one
//! left open; one that is alive after all makes itself a new producer and writes again what was aborted.

use crate::config::Config;
use crate::open;
use anyhow::Context;
use std::process::ExitCode;
use tidemark_log::kafka::{OpenTransaction, open_transactions};

/// How the list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// What is to be done.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// End the open transaction of this id, whoever owns it; give several.
    #[arg(long, value_name = "ID")]
    end: Vec<String>,
    /// End every orphan of this platform.
    #[arg(long)]
    end_orphans: bool,
    /// How the list is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A transaction and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    open: OpenTransaction,
    age_ms: i64,
    /// Its id is one of the platform's.
    own: bool,
    orphan: bool,
    ended: bool,
}

impl Finding {
    fn of(open: OpenTransaction, now: i64) -> Self {
        let own = ["tidemark.", "tidemark-"].iter().any(|prefix| open.transactional_id.starts_with(prefix));
        let (age_ms, orphan) = (now.saturating_sub(open.started_at).max(0), open.is_orphan(now));
        Self { open, age_ms, own, orphan, ended: false }
    }

    fn is_to_end(&self, options: &Options) -> bool {
        (options.end_orphans && self.own && self.orphan) || options.end.contains(&self.open.transactional_id)
    }

    fn verdict(&self) -> &'static str {
        match (self.ended, self.orphan) {
            (true, _) => "ended",
            (false, true) => "orphan",
            (false, false) => "open",
        }
    }

    fn json(&self) -> serde_json::Value {
        let open = &self.open;
        serde_json::json!({
            "transactional_id": open.transactional_id,
            "state": open.state,
            "started_at": open.started_at,
            "age_ms": self.age_ms,
            "timeout_ms": open.timeout.as_millis() as u64,
            "producer_id": open.producer_id,
            "producer_epoch": open.producer_epoch,
            "partitions": open.partitions.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "own": self.own,
            "orphan": self.orphan,
            "ended": self.ended,
        })
    }
}

/// Lists open transactions, ends those that are to end, and says with the exit status whether orphans are left: 1 if so.
///
/// # Errors
/// No cluster is given, it cannot be reached or asked, an id has no open transaction, or one cannot be ended.
pub fn transactions(config: &Config, options: &Options) -> anyhow::Result<ExitCode> {
    let bootstrap = config.kafka.bootstrap.as_deref();
    let bootstrap = bootstrap.context("this command needs a Kafka cluster: give --kafka HOST:PORT")?;
    plaintext_only(config)?;
    let now = (tidemark_log::system_clock())();
    let open = open_transactions(bootstrap)?;
    let mut findings: Vec<Finding> = open.into_iter().map(|open| Finding::of(open, now)).collect();
    for id in &options.end {
        let listed = findings.iter().any(|finding| finding.open.transactional_id == *id);
        anyhow::ensure!(listed, "there is no open transaction of id {id}; run without --end to see those that are");
    }
    if findings.iter().any(|finding| finding.is_to_end(options)) {
        let log = open::kafka_only(config)?;
        for finding in findings.iter_mut().filter(|finding| finding.is_to_end(options)) {
            let id = &finding.open.transactional_id;
            drop(log.producer(id).with_context(|| format!("cannot end the transaction of {id}"))?);
            finding.ended = true;
        }
    }
    print!("{}", told(&findings, options.format));
    let left = findings.iter().any(|finding| finding.orphan && !finding.ended);
    Ok(if left { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn plaintext_only(config: &Config) -> anyhow::Result<()> {
    let protocol = config.kafka.properties.get("security.protocol").map_or("plaintext", String::as_str);
    anyhow::ensure!(
        protocol.eq_ignore_ascii_case("plaintext"),
        "this command speaks to Kafka without TLS and SASL, and security.protocol is {protocol}: use Kafka's own tool, \
         kafka-transactions.sh --bootstrap-server HOST:PORT --command-config FILE list"
    );
    Ok(())
}

fn told(findings: &[Finding], format: Format) -> String {
    if format == Format::Json {
        let all: Vec<_> = findings.iter().map(Finding::json).collect();
        return format!("{:#}\n", serde_json::json!({ "transactions": all }));
    }
    if findings.is_empty() {
        return "no transaction is open\n".to_owned();
    }
    let mut text = format!(
        "{:<8} {:<13} {:>8} {:>8}  {:>12}  transactional id, partitions\n",
        "", "state", "age", "timeout", "producer"
    );
    for finding in findings {
        let open = &finding.open;
        let foreign = if finding.own { "" } else { "  (not of this platform)" };
        let producer = format!("{}/{}", open.producer_id, open.producer_epoch);
        let partitions: Vec<String> = open.partitions.iter().map(ToString::to_string).collect();
        text += &format!(
            "{:<8} {:<13} {:>6} s {:>6} s  {producer:>12}  {}{foreign}\n{:56}{}\n",
            finding.verdict(),
            open.state,
            finding.age_ms / 1_000,
            open.timeout.as_secs(),
            open.transactional_id,
            "",
            partitions.join(" "),
        );
    }
    if findings.iter().any(|finding| finding.orphan && !finding.ended) {
        text += "\norphans keep readers of their partitions waiting: end those of this platform with --end-orphans, others with --end ID\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tidemark_log::TopicPartition;

    fn finding(id: &str, age_ms: i64) -> Finding {
        let open = OpenTransaction {
            transactional_id: id.into(),
            state: "Ongoing".into(),
            started_at: 1_000,
            timeout: Duration::from_secs(5),
            producer_id: 7,
            producer_epoch: 3,
            partitions: vec![TopicPartition::new("flows.observed", 2)],
        };
        Finding::of(open, 1_000 + age_ms)
    }

    #[test]
    fn only_own_orphans_end_unless_named() {
        let orphans = Options { end_orphans: true, ..Options::default() };
        let named = Options { end: vec!["theirs".into()], ..Options::default() };
        let rows = [
            ("tidemark.flows.hourly.v1.merge-r-0", 5_001, &orphans, true),
            ("tidemark-gateway-r", 5_001, &orphans, true),
            ("tidemark-gateway-r", 5_000, &orphans, false),
            ("theirs", 5_001, &orphans, false),
            ("theirs", 0, &named, true),
            ("tidemark-gateway-r", 5_001, &named, false),
            ("tidemark-gateway-r", 5_001, &Options::default(), false),
        ];
        for (id, age_ms, options, ends) in rows {
            assert_eq!(finding(id, age_ms).is_to_end(options), ends, "{id} after {age_ms} ms: {options:?}");
        }
    }

    #[test]
    fn the_list_names_what_to_do() {
        let mut orphan = finding("tidemark.x", 9_000);
        let text = told(std::slice::from_ref(&orphan), Format::Table);
        assert!(
            text.contains("orphan") && text.contains("flows.observed-2") && text.contains("--end-orphans"),
            "{text}"
        );
        let json = orphan.json();
        assert_eq!((json["orphan"].as_bool(), json["timeout_ms"].as_u64()), (Some(true), Some(5_000)));
        orphan.ended = true;
        assert!(!told(&[orphan], Format::Table).contains("--end-orphans"));
        assert_eq!(told(&[], Format::Table), "no transaction is open\n");
    }

    #[test]
    fn a_secured_cluster_is_told_of_kafkas_own_tool() {
        let mut config = Config::default();
        assert!(plaintext_only(&config).is_ok());
        config.kafka.properties.insert("security.protocol".into(), "SASL_SSL".into());
        assert!(plaintext_only(&config).unwrap_err().to_string().contains("kafka-transactions.sh"));
    }
}
