//! The contract suite: what every engine of the port must do, once for all of them.
//!
//! An engine brings a [`Harness`] and writes `store_contract!(ItsHarness);` into a test module, and
//! `durable_store_contract!(ItsHarness);` if what it stores outlives it; `history_contract!` and
//! `durable_history_contract!` if it keeps a history.

// Tests panic where others answer.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

pub mod batches;
pub mod conditions;
pub mod durability;
pub mod history;
pub mod objects;
pub mod races;
pub mod revisions;
pub mod samples;
pub mod transfers;

use crate::port::{Store, StoreError};

/// Brings stores of one engine.
pub trait Harness: Default {
    /// The engine.
    type Store: Store + 'static;
    /// Revisions are a counter of the store's own: it begins at 0, stands still while nothing is written, goes through a
    /// batch in its order and can be lifted by an import. One that others share only rises.
    const OWN_REVISIONS: bool = true;
    /// Opens the one store of this harness; the first call makes it. The former one has been dropped.
    fn open(&self) -> Self::Store;
    /// The same with so many entries in its history at most.
    fn open_keeping(&self, history_events: u64) -> Self::Store;
}

/// The conflict in `result`: index, and the revision of the row that stood in the way.
///
/// # Panics
/// If it is anything else.
pub(crate) fn conflict<T: std::fmt::Debug>(
    result: Result<T, StoreError>,
) -> (usize, Option<crate::port::Row>) {
    match result {
        Err(StoreError::Conflict { index, current, .. }) => (index, current.map(|row| *row)),
        other => panic!("a conflict was expected, not {other:?}"),
    }
}

/// One test function for each name.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($harness:ty { $($module:ident: $($test:ident)+;)+ }) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $crate::contract::$module::$test::<$harness>().await;
            }
        )+)+
    };
}

/// The tests that every engine passes.
#[macro_export]
macro_rules! store_contract {
    ($harness:ty) => {
        $crate::contract_tests!($harness {
            conditions:
                a_created_row_reads_back_as_it_was_written
                an_address_without_a_row_reads_as_none
                creating_a_taken_address_is_refused_and_shows_its_row
                replacing_with_the_present_revision_takes_effect
                replacing_with_a_stale_revision_is_refused_and_changes_nothing
                replacing_an_address_without_a_row_is_refused
                deleting_with_the_present_revision_frees_the_address
                deleting_with_a_stale_revision_is_refused_and_changes_nothing
                deleting_an_address_without_a_row_is_refused
                a_freed_address_can_be_created_again
                one_address_in_two_spaces_is_two_rows
                a_mapped_address_is_another_than_the_ipv4_address_in_it
                the_same_number_in_two_families_is_two_rows
                every_state_of_a_lease_reads_back;
            batches:
                an_empty_batch_succeeds_and_changes_nothing
                a_dual_stack_batch_writes_both_rows
                if_the_first_condition_fails_nothing_is_written
                if_the_last_condition_fails_nothing_is_written
                a_conflict_names_the_first_write_that_failed
                one_batch_may_create_replace_and_delete
                a_batch_of_a_thousand_rows_is_whole
                creating_an_address_twice_in_one_batch_is_refused
                a_batch_may_delete_an_address_and_create_it_again;
            revisions:
                each_write_gets_a_higher_revision_than_all_before
                the_answer_has_one_revision_per_write_in_order
                a_delete_answers_the_revision_that_it_deleted
                a_revision_is_not_reused_after_a_delete
                the_identity_tells_the_highest_revision
                a_new_store_is_fresh_and_in_its_first_epoch
                a_raised_epoch_is_seen_at_once
                an_open_store_is_healthy;
            races:
                of_many_creators_of_one_address_exactly_one_wins
                of_many_replacers_of_one_revision_exactly_one_wins
                racing_dual_stack_batches_never_leave_a_half
                a_counter_raised_by_many_loses_no_step
                a_refused_commit_does_not_spoil_those_beside_it
                many_commits_at_once_are_all_there;
            objects:
                an_object_reads_back_as_it_was_put
                putting_an_object_again_replaces_it
                a_deleted_object_is_gone_and_the_second_delete_says_so
                objects_of_two_kinds_may_share_a_name
                objects_and_leases_do_not_touch_each_other
                a_scan_shows_every_row_once_with_its_revision
                a_scan_of_an_empty_store_shows_nothing;
            transfers:
                what_is_exported_and_imported_is_the_same
                an_import_into_a_store_that_holds_something_is_refused_and_changes_nothing
                an_import_that_may_replace_leaves_nothing_of_before
                an_import_raises_the_epoch_above_both
                an_import_gives_revisions_above_both;
        });
    };
}

/// The tests of an engine that keeps a history.
#[macro_export]
macro_rules! history_contract {
    ($harness:ty) => {
        $crate::contract_tests!($harness {
            history:
                each_change_of_holder_leaves_one_event_in_the_order_of_the_writes
                a_write_that_changes_no_holder_leaves_none
                a_refused_batch_leaves_none
                each_write_of_a_batch_leaves_its_own
                one_address_is_told_without_the_others
                beyond_the_bound_the_oldest_go_first_and_it_is_told_how_far_back_it_goes
                a_history_of_no_entries_is_none
                what_is_exported_comes_in_with_the_gap_since
                an_export_without_history_leaves_nothing_but_a_gap_over_all_time
                an_export_of_a_store_without_history_leaves_nothing_but_a_gap_over_all_time
                a_new_epoch_is_a_gap_since_the_last_entry
                a_gap_that_is_dropped_leaves_its_horizon;
        });
    };
}

/// The tests of an engine whose contents outlive it.
#[macro_export]
macro_rules! durable_store_contract {
    ($harness:ty) => {
        $crate::contract_tests!($harness {
            durability:
                what_was_written_is_there_when_opened_again
                what_was_deleted_stays_deleted_when_opened_again
                objects_are_there_when_opened_again
                revisions_go_on_when_opened_again
                a_store_keeps_its_id_and_epoch_when_opened_again
                a_store_is_fresh_until_it_holds_a_lease
                an_import_is_there_when_opened_again;
        });
    };
}

/// The tests of an engine whose history outlives it.
#[macro_export]
macro_rules! durable_history_contract {
    ($harness:ty) => {
        $crate::contract_tests!($harness {
            history:
                the_history_goes_on_when_opened_again
                a_lower_bound_drops_the_oldest_when_opened_again
                a_history_that_was_off_begins_anew_behind_a_gap;
        });
    };
}
