//! What every event store must answer: the reading endpoints of `query` over events that were appended.
//!
//! An adapter implements [`Harness`](crate::suites::store::Harness) and calls [`reading_suite!`](crate::reading_suite) once; the calling
//! crate needs `tokio` as a dependency.
#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

mod aggregations;
mod events;
mod fixture;
mod now;
mod oracle;
mod summaries;

pub use self::{aggregations::*, events::*, now::*, oracle::*, summaries::*};

/// Runs the suite: `reading_suite!(TestStore::new());`, where the harness is made anew, over an empty store, for each test.
#[macro_export]
macro_rules! reading_suite {
    ($harness:expr) => {
        $crate::reading_suite! { @tests $harness;
            events_come_newest_first_as_they_were_sent,
            properties_come_back_to_the_byte,
            filters_choose_events,
            a_range_includes_its_start_and_not_its_end,
            pages_of_events_cover_the_list_once,
            days_are_counted_by_source_and_name,
            counts_are_of_the_events_that_meet_the_filters,
            hours_and_5_minutes_are_counted_by_source_and_name,
            a_repeated_hour_is_counted_twice_and_its_day_once,
            hours_of_a_half_hour_zone_begin_at_half_past,
            a_change_by_half_an_hour_cuts_an_hour_in_two,
            the_first_hour_of_time_is_counted,
            pages_of_counts_cover_the_list_once,
            days_are_summed_up,
            a_summary_names_ten_events,
            a_summary_names_the_larger_sources,
            pages_of_days_cover_the_list_once,
            late_events_are_counted_where_they_belong,
            realtime_counts_until_now,
            names_are_those_of_the_last_30_days,
            an_empty_project_is_answered,
            another_project_is_never_seen,
            counts_equal_those_of_an_obvious_implementation,
        }
    };
    (@tests $harness:expr; $($name:ident,)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let harness = $harness;
                let store = $crate::suites::store::Harness::open(&harness).await;
                $crate::suites::reading::$name(&*store).await;
            }
        )*
    };
}
