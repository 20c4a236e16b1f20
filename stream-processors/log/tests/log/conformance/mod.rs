//! What every log promises. Each function is one test; it waits for conditions, never for time, since a real cluster takes
//! seconds to rebalance.

pub(crate) mod deletions;
pub(crate) mod groups;
pub(crate) mod records;
pub(crate) mod transactions;

/// Makes every test of the suite for the log of `$fixture`, an expression of a type that has `Fixture`.
macro_rules! conformance_suite {
    ($fixture:expr) => {
        conformance_suite!(@of $fixture, records,
            order_within_each_partition
            headers_keys_and_values_round_trip
            a_large_value_round_trips
            offsets_of_an_empty_and_a_filled_partition
            a_position_reaches_the_end
            a_time_is_looked_up
            a_poll_without_records_ends
            topics_are_made_grown_and_never_shrunk);
        conformance_suite!(@of $fixture, transactions,
            a_commit_spans_topics_and_offsets
            a_failed_commit_leaves_nothing
            an_open_commit_is_not_seen
            readers_see_commits_whole
            a_newer_producer_fences_the_older
            metadata_that_is_too_long_fails_the_commit
            writers_at_once_lose_nothing);
        conformance_suite!(@of $fixture, groups,
            a_group_resumes_where_it_committed
            members_share_every_partition
            a_commit_while_revoking_counts
            a_zombie_commits_nothing
            a_silent_member_loses_and_comes_back
            a_newer_member_fences_the_older
            leaving_hands_over
            a_paused_partition_is_not_read
            a_pause_ends_with_its_assignment
            grown_partitions_are_handed_out
            a_first_offset_is_set_once);
        conformance_suite!(@of $fixture, deletions,
            a_deleted_topic_comes_back_empty
            a_group_is_deleted_once_its_members_have_left);
    };
    (@of $fixture:expr, $module:ident, $($test:ident)*) => {
        $(#[test]
        fn $test() {
            $crate::conformance::$module::$test(&$fixture);
        })*
    };
}
