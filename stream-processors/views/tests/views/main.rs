//! The conformance suite: every test of [`suite`] against both stores, then what is particular to each.
//!
//! The CQL store is a real one, in a keyspace of each test's own; `TIDEMARK_TEST_CQL` names one to use instead of a child
//! process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod cql;
mod local;
mod sample;
mod suite;

/// Makes the suite's tests for a store, opened anew for each by `$open`. The fixture is kept to the end of the test.
macro_rules! conformance {
    ($store:ident, $open:path, [$($test:ident),* $(,)?]) => {
        mod $store {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let fixture = $open().await;
                crate::suite::$test(&*fixture.store).await;
            })*
        }
    };
}

macro_rules! both {
    ($($test:ident),* $(,)?) => {
        conformance!(local_store, crate::local::open, [$($test),*]);
        conformance!(cql_store, crate::cql::open, [$($test),*]);
    };
}

both![
    a_view_is_made_twice_but_not_with_other_columns,
    values_of_all_kinds_come_back,
    rows_come_in_the_order_of_their_clustering_key,
    prefix_after_and_limit_page_through_a_partition,
    a_view_without_clustering_columns_has_one_row_for_each_partition,
    the_highest_revision_stays_in_whatever_order,
    more_rows_than_a_page_come_back,
    ledger_entries_come_by_window_and_merge_partition,
    progress_keeps_the_newest_of_each_merge_partition,
    tenants_windows_merge_partitions_and_views_are_apart,
    what_does_not_fit_is_refused_whole,
    what_is_past_its_retention_is_not_written,
];
