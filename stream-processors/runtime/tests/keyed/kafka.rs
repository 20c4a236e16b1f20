//! The same on a real broker: its transactions, its control markers, its rebalances.

use std::sync::Arc;
use std::time::Duration;

use tidemark_harness::unique;
use tidemark_log::kafka::{KafkaConfig, KafkaLog};
use tidemark_log::span::NoSpans;
use tidemark_log::system_clock;
use tidemark_runtime::Metrics;
use tidemark_runtime::keyed::{Parts, Plan};

use crate::accounts;
use crate::check::check;
use crate::registry::MemoryRegistry;
use crate::topics::Topics;
use crate::views::Bank;

#[test]
fn two_replicas_take_over_from_each_other_and_nothing_is_done_twice() {
    let parts = Parts {
        log: KafkaLog::connect(KafkaConfig::new(tidemark_harness::kafka())).unwrap(),
        registry: Arc::new(MemoryRegistry::default()),
        clock: system_clock(),
        metrics: Arc::new(Metrics::default()),
        spans: Arc::new(NoSpans),
    };
    let name = unique("bank");
    let mut one = Bank::new(&name, "one", parts.clone());
    one.start();
    one.publish(&["a", "b", "c", "a"], 0);
    one.publish(&["d", "e"], 500);
    one.until("accounts expire", |bank| bank.rows("expired") == 2);
    one.until_idle();
    assert_eq!(one.given(), 8, "a row was written twice");
    let mut two = Bank::new(&name, "two", parts.clone());
    two.start();
    one.publish(&["a", "b"], 0);
    one.stop();
    two.publish(&["c", "f"], 300);
    two.until_idle();
    two.until("both expire", |bank| one.rows("expired") + bank.rows("expired") == 4);
    two.until_idle();
    two.stop();
    let mut plan = Plan::new(accounts::spec(&name, 2));
    plan.create(parts.log.as_ref(), parts.registry.as_ref()).unwrap();
    let topics = Topics { plan: &plan, parts: &parts, wait: Duration::from_millis(50) };
    let checked = check(&topics).unwrap();
    assert_eq!((checked.records, checked.expired, checked.dead), (10, 4, 0));
    assert!((2..=4).contains(&checked.ticks), "{checked:?}");
}
