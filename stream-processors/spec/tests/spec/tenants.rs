//! Nothing of one tenant changes what another sees.

use crate::support::{EVENT, Schemas, event_job};
use std::sync::Arc;
use tidemark_core::Job;
use tidemark_spec::{SpecJob, compile, inline};

#[track_caller]
fn passes(job: &Arc<SpecJob>) {
    let outcomes = inline::run("job.yaml", job).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!outcomes.is_empty());
    for outcome in outcomes {
        assert!(outcome.failures.is_empty(), "{outcome}");
    }
}

fn joined(table: &str) -> Arc<SpecJob> {
    let text = "
job: events.named
source: {topics: events, time: at}
join:
  partner: {table: partners, key: id, on: k}
key:
  - partner: coalesce(partner.name, \"nobody\")
window: {tumbling: 1h}
late: hold
aggregate: {c: count()}
tests:
";
    let avsc = |tenant: &str| {
        format!(
            r#"{{"type": "record", "name": "Partner", "fields": [{tenant}{{"name": "id", "type": "string"}}, {{"name": "name", "type": "string"}}]}}"#
        )
    };
    let (with, without): (&'static str, &'static str) =
        (avsc(r#"{"name": "tenant", "type": ["null", "string"], "default": null}, "#).leak(), avsc("").leak());
    let partners = if table.contains("tenant:") { with } else { without };
    let schemas = Schemas([("events", EVENT), ("partners", partners)].into());
    Arc::new(compile("job.yaml", &format!("{text}{table}"), &schemas).unwrap_or_else(|problems| panic!("{problems}")))
}

#[test]
fn a_join_sees_rows_of_its_own_tenant() {
    let job = joined(
        "
- steps:
    - table:
        partner: [{tenant: a, id: x, name: Of A}, {tenant: b, id: x, name: Of B}, {id: x, name: Of the default}]
      arrives: 2026-01-01T09:00:00Z
    - push:
        - {tenant: a, k: x, at: 2026-01-01T10:00:00Z}
        - {tenant: b, k: x, at: 2026-01-01T10:00:00Z}
        - {tenant: c, k: x, at: 2026-01-01T10:00:00Z}
        - {k: x, at: 2026-01-01T10:00:00Z}
        - {tenant: default, k: x, at: 2026-01-01T10:00:00Z}
    - delete: {partner: {tenant: a, id: x}}
      arrives: 2026-01-01T10:10:00Z
    - push:
        - {tenant: a, k: x, at: 2026-01-01T10:20:00Z}
        - {tenant: b, k: x, at: 2026-01-01T10:20:00Z}
    - expect:
        rows:
          - {tenant: a, partner: Of A, c: 1}
          - {tenant: a, partner: nobody, c: 1}
          - {tenant: b, partner: Of B, c: 2}
          - {tenant: c, partner: nobody, c: 1}
          - {partner: Of the default, c: 2}
",
    );
    assert_eq!(job.spec().expressions[0], "join partner = partners by tenant and id on k");
    passes(&job);
}

#[test]
fn a_table_without_tenants_serves_all() {
    let job = joined(
        "
- steps:
    - table: {partner: {id: x, name: Of all}}
      arrives: 2026-01-01T09:00:00Z
    - push: [{k: x, at: 2026-01-01T10:00:00Z}]
    - expect: {rows: [{partner: Of all, c: 1}]}
",
    );
    assert_eq!(job.spec().expressions[0], "join partner = partners by id on k");
    passes(&job);
}

#[test]
fn repeats_are_a_tenants_own() {
    let job = event_job(
        "
source: {topics: events, time: at, dedupe: {by: id}}
tests:
  - steps:
      - push:
          - {tenant: a, id: x, k: k, at: 2026-01-01T10:00:00Z}
          - {tenant: b, id: x, k: k, at: 2026-01-01T10:00:00Z}
          - {id: x, k: k, at: 2026-01-01T10:00:00Z}
          - {tenant: default, id: x, k: k, at: 2026-01-01T10:00:00Z}
          - {tenant: b, id: x, k: k, at: 2026-01-01T10:00:01Z}
      - expect:
          duplicates: 2
          rows: [{tenant: a, k: k, c: 1}, {tenant: b, k: k, c: 1}, {k: k, c: 1}]
",
    );
    passes(&job.unwrap_or_else(|problems| panic!("{problems}")));
}

/// A record that says no tenant is the default tenant's, as where a source has none at all.
#[test]
fn no_tenant_is_the_default_one() {
    let job = event_job(
        "
tests:
  - steps:
      - push:
          - {tenant: null, k: k, at: 2026-01-01T10:00:00Z}
          - {tenant: default, k: k, at: 2026-01-01T10:00:00Z}
          - {tenant: a, k: k, at: 2026-01-01T10:00:00Z}
      - expect: {dead_letters: 0, rows: [{k: k, c: 2}, {tenant: a, k: k, c: 1}]}
",
    );
    passes(&job.unwrap_or_else(|problems| panic!("{problems}")));
}
