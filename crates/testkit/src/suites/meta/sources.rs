//! Sources.
#![expect(missing_docs, reason = "the name of a test says it all")]

use model::{SamplingStrategy, Source, SourceChanges, limits::SOURCES_PER_PROJECT_MAX};

use super::{Handles, project, source};

pub async fn sources_are_added_once(handles: Handles) {
    let project = project("one");
    handles.first.create_project(&project).await.unwrap();
    let first_sight = source(&project, "web");
    let twice = [first_sight.clone(), source(&project, "web")];
    assert_eq!(handles.first.ensure_sources(&twice).await.unwrap(), 1);
    assert_eq!(handles.first.ensure_sources(&twice).await.unwrap(), 0);
    assert_eq!(
        handles
            .second
            .ensure_sources(&[source(&project, "web"), source(&project, "Web")])
            .await
            .unwrap(),
        1,
        "names are told apart by case"
    );
    assert_eq!(handles.first.ensure_sources(&[]).await.unwrap(), 0);
    let stored = handles.second.sources().await.unwrap();
    assert_eq!(stored.len(), 2);
    assert!(stored.contains(&first_sight), "the first sight of a name stays");
}

pub async fn sources_come_back_as_they_went_in_by_project_and_name(handles: Handles) {
    let store = handles.first;
    let mut projects = [project("one"), project("two")];
    projects.sort_by_key(|project| project.id);
    let mut expected = Vec::new();
    for project in &projects {
        store.create_project(project).await.unwrap();
        for name in ["Z", "a", "é", "名"] {
            expected.push(source(project, name));
        }
    }
    expected[1].description = String::new();
    expected[2] = Source {
        is_active: false,
        rate_limit_per_minute: Some(u32::MAX),
        sampling_enabled: Some(false),
        sampling_rate: Some(0.3),
        sampling_strategy: Some(SamplingStrategy::Deterministic),
        ..expected[2].clone()
    };
    let backwards: Vec<Source> = expected.iter().rev().cloned().collect();
    assert_eq!(store.ensure_sources(&backwards).await.unwrap(), 8);
    assert_eq!(handles.second.sources().await.unwrap(), expected);
}

pub async fn sources_of_missing_projects_are_left_out(handles: Handles) {
    let (there, missing) = (project("there"), project("missing"));
    handles.first.create_project(&there).await.unwrap();
    let kept = source(&there, "web");
    let added = handles
        .first
        .ensure_sources(&[source(&missing, "web"), kept.clone(), source(&missing, "app")])
        .await;
    assert_eq!(added.unwrap(), 1);
    assert_eq!(handles.first.sources().await.unwrap(), [kept]);
}

pub async fn sources_stop_at_the_limit_of_a_project(handles: Handles) {
    let store = handles.first;
    let (full, other) = (project("full"), project("other"));
    store.create_project(&full).await.unwrap();
    store.create_project(&other).await.unwrap();
    let almost: Vec<Source> = (1..SOURCES_PER_PROJECT_MAX)
        .map(|number| source(&full, &format!("source {number}")))
        .collect();
    let limit = u64::try_from(SOURCES_PER_PROJECT_MAX).unwrap();
    assert_eq!(store.ensure_sources(&almost).await.unwrap(), limit - 1);
    let last = [
        source(&full, "last"),
        source(&full, "too many"),
        source(&other, "another project's"),
    ];
    assert_eq!(store.ensure_sources(&last).await.unwrap(), 2);
    assert_eq!(store.ensure_sources(&last).await.unwrap(), 0);
    let stored = store.sources().await.unwrap();
    assert_eq!(stored.len(), SOURCES_PER_PROJECT_MAX + 1);
    assert!(stored.iter().all(|source| source.name != "too many"));
}

pub async fn a_source_update_changes_what_it_names_and_nothing_else(handles: Handles) {
    let project = project("one");
    handles.first.create_project(&project).await.unwrap();
    let (before, bystander) = (source(&project, "a"), source(&project, "b"));
    let both = [before.clone(), bystander.clone()];
    assert_eq!(handles.first.ensure_sources(&both).await.unwrap(), 2);
    let mut expected = before;
    let steps = [
        SourceChanges {
            is_active: Some(false),
            sampling_rate: Some(Some(0.25)),
            ..SourceChanges::default()
        },
        SourceChanges {
            description: Some("Landing page".to_owned()),
            rate_limit_per_minute: Some(Some(10)),
            sampling_enabled: Some(Some(true)),
            sampling_strategy: Some(Some(SamplingStrategy::TimeWindow)),
            ..SourceChanges::default()
        },
        SourceChanges {
            is_active: Some(true),
            rate_limit_per_minute: Some(None),
            sampling_enabled: Some(None),
            sampling_rate: Some(None),
            sampling_strategy: Some(None),
            ..SourceChanges::default()
        },
    ];
    for (step, changes) in steps.iter().enumerate() {
        match step {
            0 => {
                expected.is_active = false;
                expected.sampling_rate = Some(0.25);
            }
            1 => {
                expected.description = "Landing page".to_owned();
                expected.rate_limit_per_minute = Some(10);
                expected.sampling_enabled = Some(true);
                expected.sampling_strategy = Some(SamplingStrategy::TimeWindow);
            }
            _ => {
                expected = Source {
                    description: "Landing page".to_owned(),
                    ..both[0].clone()
                }
            }
        }
        let updated = handles.first.update_source(expected.id, changes).await.unwrap();
        assert_eq!(updated, expected, "step {step}");
        assert_eq!(
            handles.second.sources().await.unwrap(),
            [expected.clone(), bystander.clone()],
            "step {step}"
        );
    }
}
