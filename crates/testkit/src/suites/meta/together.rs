//! The whole store: emptiness, absence, versions, two handles at once, closing.
#![expect(missing_docs, reason = "the name of a test says it all")]

use std::{collections::HashSet, sync::Arc};

use model::{PersonId, Project, ProjectChanges, ProjectId, SourceChanges, SourceId};
use store::MetaError;

use super::{Handles, person, project, source};
use crate::build::instant;

pub async fn a_new_store_is_empty(handles: Handles) {
    let store = handles.first;
    assert_eq!(store.projects().await.unwrap(), []);
    assert_eq!(store.sources().await.unwrap(), []);
    assert_eq!(store.people().await.unwrap(), []);
}

pub async fn what_is_missing_is_not_found(handles: Handles) {
    let store = handles.first;
    let now = instant("2026-01-01T00:00:00Z");
    let project_id = ProjectId::generate(now);
    let source_id = SourceId::generate(now);
    let person_id = PersonId::generate(now);
    let no_project = store.update_project(project_id, &ProjectChanges::default(), now).await;
    for (expected_what, expected_id, error) in [
        ("project", project_id.0, store.project(project_id).await.unwrap_err()),
        ("project", project_id.0, no_project.unwrap_err()),
        (
            "project",
            project_id.0,
            store.delete_project(project_id).await.unwrap_err(),
        ),
        (
            "source",
            source_id.0,
            store
                .update_source(source_id, &SourceChanges::default())
                .await
                .unwrap_err(),
        ),
        (
            "person",
            person_id.0,
            store.set_password_hash(person_id, "hash").await.unwrap_err(),
        ),
        ("person", person_id.0, store.delete_person(person_id).await.unwrap_err()),
    ] {
        let MetaError::NotFound { what, id } = &error else {
            panic!("{expected_what}: {error}");
        };
        assert_eq!((*what, id), (expected_what, &expected_id.to_string()));
    }
}

pub async fn every_change_moves_the_version_that_both_handles_see(handles: Handles) {
    let (ours, theirs) = (handles.first, handles.second);
    let mut seen = HashSet::from([ours.version().await.unwrap()]);
    let now = instant("2026-01-01T00:00:00Z");
    let (project, person) = (project("one"), person("one@example.com"));
    let web = source(&project, "web");
    for step in 0..8 {
        match step {
            0 => ours.create_project(&project).await.unwrap(),
            1 => {
                let changes = ProjectChanges::default();
                ours.update_project(project.id, &changes, now).await.unwrap();
            }
            2 => assert_eq!(ours.ensure_sources(std::slice::from_ref(&web)).await.unwrap(), 1),
            3 => {
                let changes = SourceChanges::default();
                ours.update_source(web.id, &changes).await.unwrap();
            }
            4 => ours.create_person(&person).await.unwrap(),
            5 => ours.set_password_hash(person.id, "hash").await.unwrap(),
            6 => ours.delete_person(person.id).await.unwrap(),
            _ => ours.delete_project(project.id).await.unwrap(),
        }
        let version = ours.version().await.unwrap();
        assert!(seen.insert(version), "step {step} left the version at {version}");
        assert_eq!(theirs.version().await.unwrap(), version, "step {step}");
    }
}

pub async fn reading_moves_no_version(handles: Handles) {
    let store = handles.first;
    let project = project("one");
    store.create_project(&project).await.unwrap();
    let web = [source(&project, "web")];
    assert_eq!(store.ensure_sources(&web).await.unwrap(), 1);
    let version = store.version().await.unwrap();
    store.projects().await.unwrap();
    store.project(project.id).await.unwrap();
    store.sources().await.unwrap();
    store.people().await.unwrap();
    store.ensure_sources(&web).await.unwrap(); // adds nothing: a busy server must not make all others read anew
    assert_eq!(store.version().await.unwrap(), version);
}

pub async fn both_handles_update_side_by_side(handles: Handles) {
    const ROUNDS: u32 = 40;
    let project = project("one");
    handles.first.create_project(&project).await.unwrap();
    let id = project.id;
    let mut tasks = Vec::new();
    // Each of four writers owns a field; an update that wrote back what it read before waiting would lose another's.
    for writer in 0..4 {
        let store = Arc::clone(if writer % 2 == 0 {
            &handles.first
        } else {
            &handles.second
        });
        tasks.push(tokio::spawn(async move {
            for round in 1..=ROUNDS {
                let mut changes = ProjectChanges::default();
                match writer {
                    0 => changes.rate_limit_per_minute = Some(Some(round)),
                    1 => changes.retention_days = Some(Some(round)),
                    2 => changes.aggregation_retention_days = Some(Some(round)),
                    _ => changes.monthly_event_quota = Some(Some(round.into())),
                }
                store
                    .update_project(id, &changes, instant("2026-03-01T00:00:00Z"))
                    .await
                    .unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let expected = Project {
        rate_limit_per_minute: Some(ROUNDS),
        retention_days: Some(ROUNDS),
        aggregation_retention_days: Some(ROUNDS),
        monthly_event_quota: Some(ROUNDS.into()),
        updated_at: instant("2026-03-01T00:00:00Z"),
        ..project
    };
    assert_eq!(handles.first.project(id).await.unwrap(), expected);
    assert_eq!(handles.second.project(id).await.unwrap(), expected);
}

pub async fn both_handles_add_the_same_sources_side_by_side(handles: Handles) {
    const NAMES: usize = 50;
    let project = project("one");
    handles.first.create_project(&project).await.unwrap();
    let mut tasks = Vec::new();
    for writer in 0..4 {
        let store = Arc::clone(if writer % 2 == 0 {
            &handles.first
        } else {
            &handles.second
        });
        let project = project.clone();
        tasks.push(tokio::spawn(async move {
            let mut added = 0;
            for number in 0..NAMES {
                let name = format!("source {:02}", (number + writer * 7) % NAMES);
                added += store.ensure_sources(&[source(&project, &name)]).await.unwrap();
            }
            added
        }));
    }
    let mut added = 0;
    for task in tasks {
        added += task.await.unwrap();
    }
    assert_eq!(added, 50, "each name is new to exactly one writer");
    assert_eq!(handles.first.sources().await.unwrap().len(), NAMES);
}

pub async fn a_closed_store_is_unavailable(handles: Handles) {
    let project = project("one");
    handles.first.create_project(&project).await.unwrap();
    handles.first.close().await;
    assert!(matches!(handles.first.projects().await, Err(MetaError::Unavailable(_))));
    assert!(matches!(handles.first.version().await, Err(MetaError::Unavailable(_))));
    assert_eq!(
        handles.second.projects().await.unwrap(),
        [project],
        "the other handle goes on"
    );
}
