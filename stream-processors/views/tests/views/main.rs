//! The conformance suite: every test of [`suite`], [`kinds`] and [`catalog`] against both stores, then what is particular to each.
//!
//! The CQL store is a real one, in a keyspace of each test's own; `TIDEMARK_TEST_CQL` names one to use instead of a child
//! process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod catalog;
mod cql;
mod kinds;
mod local;
mod sample;
mod suite;

/// Makes the suite's tests for a store, opened anew for each by `$open`. The fixture is kept to the end of the test.
macro_rules! conformance {
    ($store:ident, $open:path, [$($suite:ident::$test:ident),* $(,)?]) => {
        mod $store {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let fixture = $open().await;
                crate::$suite::$test(&*fixture.store).await;
            })*
        }
    };
}

macro_rules! both {
    ($($suite:ident::$test:ident),* $(,)?) => {
        conformance!(local_store, crate::local::open, [$($suite::$test),*]);
        conformance!(cql_store, crate::cql::open, [$($suite::$test),*]);
    };
}

both![
    suite::a_view_is_made_twice_but_not_with_other_columns,
    suite::values_of_all_kinds_come_back,
    suite::rows_come_in_the_order_of_their_clustering_key,
    suite::prefix_after_and_limit_page_through_a_partition,
    suite::a_view_without_clustering_columns_has_one_row_for_each_partition,
    suite::the_highest_revision_stays_in_whatever_order,
    suite::more_rows_than_a_page_come_back,
    suite::ledger_entries_come_by_window_and_merge_partition,
    suite::progress_keeps_the_newest_of_each_merge_partition,
    suite::tenants_windows_merge_partitions_and_views_are_apart,
    suite::what_does_not_fit_is_refused_whole,
    suite::what_is_past_its_retention_is_not_written,
    kinds::every_kind_and_its_null_come_back,
    kinds::a_null_and_a_value_replace_each_other_by_revision,
    kinds::rows_are_ordered_by_every_kind_of_clustering_column,
    kinds::keys_of_other_kinds_and_nulls_in_keys_are_refused,
    catalog::entries_are_listed_by_name_and_the_highest_revision_stays,
    catalog::an_entry_that_contradicts_itself_is_refused,
    catalog::a_dropped_view_is_gone_and_no_other_is,
];
