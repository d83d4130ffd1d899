//! What every metadata store must do.
//!
//! An adapter calls [`meta_suite!`](crate::meta_suite) with the path of an async function that returns [`Handles`] of a fresh, empty
//! store; the calling crate needs `tokio` as a dependency.
#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

mod leases;
mod people;
mod projects;
mod sources;
mod together;

use std::{any::Any, sync::Arc};

use model::{Person, PersonId, PrivateKey, Project, ProjectId, PublicKey, SamplingStrategy, Source};
use store::{MetaError, MetaStore};

pub use self::{leases::*, people::*, projects::*, sources::*, together::*};
use crate::build::instant;

/// Two handles of one store, as two processes would hold them.
pub struct Handles {
    /// The one that most tests use.
    pub first: Arc<dyn MetaStore>,
    /// Opened apart from the first: shares no connection with it.
    pub second: Arc<dyn MetaStore>,
    /// Lives as long as the test, such as a temporary directory.
    pub keep: Box<dyn Any + Send>,
}

/// Runs the suite: `meta_suite!(open);` with `async fn open() -> testkit::suites::meta::Handles`.
#[macro_export]
macro_rules! meta_suite {
    ($open:path) => {
        $crate::meta_suite! { @tests $open =>
            a_new_store_is_empty,
            a_project_comes_back_as_it_went_in,
            projects_are_listed_oldest_first,
            ids_and_keys_of_projects_are_unique,
            an_update_changes_what_it_names_and_nothing_else,
            an_update_clears_and_sets_every_field,
            a_key_taken_by_another_project_is_a_conflict_and_changes_nothing,
            deleting_a_project_deletes_its_sources_and_no_others,
            sources_are_added_once,
            sources_come_back_as_they_went_in_by_project_and_name,
            sources_of_missing_projects_are_left_out,
            sources_stop_at_the_limit_of_a_project,
            a_source_update_changes_what_it_names_and_nothing_else,
            people_come_back_by_e_mail,
            e_mails_are_unique_without_regard_to_case,
            a_password_hash_is_replaced,
            a_person_is_deleted,
            what_is_missing_is_not_found,
            every_change_moves_the_version_that_both_handles_see,
            reading_moves_no_version,
            both_handles_update_side_by_side,
            both_handles_add_the_same_sources_side_by_side,
            a_closed_store_is_unavailable,
            of_many_first_starts_one_makes_a_project_and_a_person,
            a_first_start_finds_out_whatever_is_there,
            a_lease_has_one_holder_until_it_ends,
            a_lease_that_is_not_renewed_runs_out,
            of_many_that_take_a_lease_at_once_one_gets_it,
            leases_move_no_version,
        }
    };
    (@tests $open:path => $($name:ident,)*) => {
        mod meta_suite {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $crate::suites::meta::$name($open().await).await;
                }
            )*
        }
    };
}

fn project(name: &str) -> Project {
    Project::new(name.to_owned(), instant("2026-01-01T00:00:00Z"))
}

/// A project in which no field has its default.
fn unusual_project() -> Project {
    Project {
        id: ProjectId::generate(instant("2026-02-01T00:00:00Z")),
        name: "Größe 'quoted' \"name\" 名".to_owned(),
        public_api_key: PublicKey::generate(),
        private_api_key: PrivateKey::generate(),
        is_active: false,
        rate_limit_per_minute: None,
        monthly_event_quota: Some(5_000_000_000),
        retention_days: None,
        aggregation_retention_days: Some(u32::MAX),
        cors_allowed_origins: vec!["https://*.example.com".to_owned(), "*".to_owned()],
        sampling_enabled: true,
        sampling_rate: 0.1,
        sampling_strategy: SamplingStrategy::TimeWindow,
        time_zone: "Asia/Kathmandu".to_owned(),
        cookie_identification: true,
        created_at: instant("2026-02-01T00:00:00.000001Z"),
        updated_at: instant("2026-02-01T00:00:01Z"),
    }
}

fn source(project: &Project, name: &str) -> Source {
    Source::auto_created(project.id, name, instant("2026-01-02T00:00:00.5Z"))
}

fn person(email: &str) -> Person {
    let created_at = instant("2026-01-03T00:00:00Z");
    Person {
        id: PersonId::generate(created_at),
        email: email.to_owned(),
        is_superuser: email.starts_with("root"),
        password_hash: format!("$argon2id${email}"),
        created_at,
    }
}

fn is_conflict<T>(result: Result<T, MetaError>) -> bool {
    matches!(result, Err(MetaError::Conflict(_)))
}
