//! Projects.
#![expect(missing_docs, reason = "the name of a test says it all")]

use model::{Project, ProjectChanges};
use store::MetaError;

use super::{Handles, is_conflict, project, source, unusual_project};
use crate::build::instant;

pub async fn a_project_comes_back_as_it_went_in(handles: Handles) {
    for project in [project("plain"), unusual_project()] {
        handles.first.create_project(&project).await.unwrap();
        assert_eq!(handles.first.project(project.id).await.unwrap(), project);
        assert_eq!(handles.second.project(project.id).await.unwrap(), project);
    }
}

pub async fn projects_are_listed_oldest_first(handles: Handles) {
    let mut expected = Vec::new();
    for (name, created_at) in [
        ("b", "2026-01-01T00:00:00Z"),
        ("c", "2026-01-01T00:00:00.000001Z"),
        ("a", "2026-01-01T00:00:01Z"),
        ("d", "2026-11-01T00:00:00Z"),
    ] {
        expected.push(Project::new(name.to_owned(), instant(created_at)));
    }
    for index in [2, 0, 3, 1] {
        handles.first.create_project(&expected[index]).await.unwrap();
    }
    assert_eq!(handles.second.projects().await.unwrap(), expected);
}

pub async fn ids_and_keys_of_projects_are_unique(handles: Handles) {
    let store = handles.first;
    let there = project("there");
    store.create_project(&there).await.unwrap();
    let mut same_id = project("same id");
    same_id.id = there.id;
    let mut same_public_key = project("same public key");
    same_public_key.public_api_key = there.public_api_key.clone();
    let mut same_private_key = project("same private key");
    same_private_key.private_api_key = there.private_api_key.clone();
    for other in [&there, &same_id, &same_public_key, &same_private_key] {
        let error = store.create_project(other).await.unwrap_err();
        assert!(matches!(error, MetaError::Conflict(_)), "{}: {error}", other.name);
        let text = error.to_string();
        assert!(
            !text.contains(there.public_api_key.expose()) && !text.contains(there.private_api_key.expose()),
            "an error shows a key: {text}"
        );
    }
    store.create_project(&project("there")).await.unwrap(); // names need not be unique
    assert_eq!(store.projects().await.unwrap().len(), 2);
}

pub async fn an_update_changes_what_it_names_and_nothing_else(handles: Handles) {
    let before = unusual_project();
    let bystander = project("bystander");
    handles.first.create_project(&before).await.unwrap();
    handles.first.create_project(&bystander).await.unwrap();
    let changes = ProjectChanges {
        retention_days: Some(Some(7)),
        ..ProjectChanges::default()
    };
    let now = instant("2026-03-01T00:00:00Z");
    let expected = Project {
        retention_days: Some(7),
        updated_at: now,
        ..before.clone()
    };
    assert_eq!(
        handles.first.update_project(before.id, &changes, now).await.unwrap(),
        expected
    );
    assert_eq!(handles.second.project(before.id).await.unwrap(), expected);
    assert_eq!(handles.second.project(bystander.id).await.unwrap(), bystander);
}

pub async fn an_update_clears_and_sets_every_field(handles: Handles) {
    let store = handles.first;
    let (plain, unusual) = (project("plain"), unusual_project());
    store.create_project(&plain).await.unwrap();
    let target = Project {
        id: plain.id,
        created_at: plain.created_at,
        ..unusual
    };
    // There and back: each field is set once and, where it can be, cleared once.
    for to in [&target, &plain] {
        let changes = ProjectChanges {
            name: Some(to.name.clone()),
            public_api_key: Some(to.public_api_key.clone()),
            private_api_key: Some(to.private_api_key.clone()),
            is_active: Some(to.is_active),
            rate_limit_per_minute: Some(to.rate_limit_per_minute),
            monthly_event_quota: Some(to.monthly_event_quota),
            retention_days: Some(to.retention_days),
            aggregation_retention_days: Some(to.aggregation_retention_days),
            cors_allowed_origins: Some(to.cors_allowed_origins.clone()),
            sampling_enabled: Some(to.sampling_enabled),
            sampling_rate: Some(to.sampling_rate),
            sampling_strategy: Some(to.sampling_strategy),
            time_zone: Some(to.time_zone.clone()),
            cookie_identification: Some(to.cookie_identification),
        };
        let updated = store.update_project(plain.id, &changes, to.updated_at).await.unwrap();
        assert_eq!(&updated, to);
        assert_eq!(&store.project(plain.id).await.unwrap(), to);
    }
}

pub async fn a_key_taken_by_another_project_is_a_conflict_and_changes_nothing(handles: Handles) {
    let store = handles.first;
    let (one, two) = (project("one"), project("two"));
    store.create_project(&one).await.unwrap();
    store.create_project(&two).await.unwrap();
    let changes = ProjectChanges {
        name: Some("renamed".to_owned()),
        public_api_key: Some(one.public_api_key.clone()),
        ..ProjectChanges::default()
    };
    assert!(is_conflict(
        store.update_project(two.id, &changes, two.updated_at).await
    ));
    assert_eq!(store.project(two.id).await.unwrap(), two);
}

pub async fn deleting_a_project_deletes_its_sources_and_no_others(handles: Handles) {
    let store = handles.first;
    let (gone, stays) = (project("gone"), project("stays"));
    store.create_project(&gone).await.unwrap();
    store.create_project(&stays).await.unwrap();
    let kept = source(&stays, "web");
    let added = store
        .ensure_sources(&[source(&gone, "web"), source(&gone, "app"), kept.clone()])
        .await;
    assert_eq!(added.unwrap(), 3);
    store.delete_project(gone.id).await.unwrap();
    assert_eq!(handles.second.projects().await.unwrap(), [stays]);
    assert_eq!(handles.second.sources().await.unwrap(), [kept]);
    assert!(matches!(
        store.delete_project(gone.id).await,
        Err(MetaError::NotFound { what: "project", .. })
    ));
}
