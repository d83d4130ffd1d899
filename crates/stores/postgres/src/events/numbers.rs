//! Numbers instead of names: of projects, and of each project's users.
//!
//! A number is durable before the first event that has it: it is given in a transaction of its own, so that what is remembered here never turns
//! out not to be, and a batch that fails leaves no gap.

use std::{
    collections::{BTreeMap, HashMap},
    sync::PoisonError,
};

use model::{ProjectId, limits};
use sqlx::PgPool;
use uuid::Uuid;

use super::Shared;
use crate::connect::Lease;

/// Stands for a project that never had an event: no event has this number.
pub(super) const NO_PROJECT: i32 = -1;

/// Numbers that are remembered.
#[derive(Default)]
pub(super) struct Numbers {
    projects: HashMap<ProjectId, i32>,
    young: HashMap<(i32, String), i32>,
    /// Those of which none has been asked for since `young` was last full; forgotten when it is again.
    old: HashMap<(i32, String), i32>,
}

impl Numbers {
    fn user(&mut self, key: &(i32, String)) -> Option<i32> {
        if let Some(uid) = self.young.get(key) {
            return Some(*uid);
        }
        let (key, uid) = self.old.remove_entry(key)?;
        self.remember(key, uid);
        Some(uid)
    }

    fn remember(&mut self, key: (i32, String), uid: i32) {
        if self.young.len() >= limits::STORE_USER_CACHE_ENTRIES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, uid);
    }
}

/// The number of a project, if it ever had an event.
pub(super) async fn project(store: &Shared, pool: &PgPool, id: ProjectId) -> sqlx::Result<Option<i32>> {
    let known = {
        let numbers = store.known.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.projects.get(&id).copied()
    };
    if known.is_some() {
        return Ok(known);
    }
    let found: Option<i32> = sqlx::query_scalar("select number from event_projects where id = $1")
        .bind(id.0)
        .fetch_optional(pool)
        .await?;
    if let Some(number) = found {
        let mut numbers = store.known.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.projects.insert(id, number);
    }
    Ok(found)
}

/// The numbers of projects; those that have none get one.
pub(super) async fn projects(
    store: &Shared,
    ids: impl Iterator<Item = ProjectId>,
) -> sqlx::Result<HashMap<ProjectId, i32>> {
    let mut found = HashMap::new();
    let mut missing: Vec<Uuid> = Vec::new();
    {
        let numbers = store.known.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            match numbers.projects.get(&id) {
                Some(number) => drop(found.insert(id, *number)),
                None => missing.push(id.0),
            }
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    missing.sort_unstable();
    missing.dedup();
    let insert = sqlx::query(
        "insert into event_projects (id) select wanted.id from unnest($1::uuid[]) as wanted(id) \
         where not exists (select from event_projects where id = wanted.id) on conflict do nothing",
    );
    insert.bind(missing.clone()).execute(&store.writers).await?;
    let rows: Vec<(Uuid, i32)> = sqlx::query_as("select id, number from event_projects where id = any($1)")
        .bind(missing)
        .fetch_all(&store.writers)
        .await?;
    let mut numbers = store.known.numbers.lock().unwrap_or_else(PoisonError::into_inner);
    for (id, number) in rows {
        numbers.projects.insert(ProjectId(id), number);
        found.insert(ProjectId(id), number);
    }
    Ok(found)
}

/// The numbers of users, in order; those that have none get the next of their project.
pub(super) async fn users(store: &Shared, wanted: &[(i32, &str)]) -> sqlx::Result<Vec<i32>> {
    let mut missing: BTreeMap<(i32, String), ()> = BTreeMap::new();
    let mut uids: Vec<Option<i32>> = Vec::with_capacity(wanted.len());
    {
        let mut numbers = store.known.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        for (project, user) in wanted {
            let key = (*project, (*user).to_owned());
            let uid = numbers.user(&key);
            if uid.is_none() {
                missing.insert(key, ());
            }
            uids.push(uid);
        }
    }
    if missing.is_empty() {
        return Ok(uids.into_iter().flatten().collect());
    }
    let missing: Vec<(i32, String)> = missing.into_keys().collect();
    let mut lease = Lease::take(&store.writers).await?;
    let mut found = look_up(&mut lease, &missing).await?;
    if found.len() < missing.len() {
        give(&mut lease, missing.iter().filter(|key| !found.contains_key(*key))).await?;
        found = look_up(&mut lease, &missing).await?;
    }
    lease.give_back();
    let filled = uids.into_iter().zip(wanted).map(|(uid, (project, user))| match uid {
        Some(uid) => Ok(uid),
        None => found
            .get(&(*project, (*user).to_owned()))
            .copied()
            .ok_or(sqlx::Error::RowNotFound),
    });
    let filled = filled.collect::<sqlx::Result<Vec<i32>>>()?;
    let mut numbers = store.known.numbers.lock().unwrap_or_else(PoisonError::into_inner);
    for (key, uid) in found {
        numbers.remember(key, uid);
    }
    Ok(filled)
}

async fn look_up(lease: &mut Lease, keys: &[(i32, String)]) -> sqlx::Result<HashMap<(i32, String), i32>> {
    let (projects, users): (Vec<i32>, Vec<String>) = keys.iter().cloned().unzip();
    // One look into the index for each, however large the table is: `offset 0` keeps the planner from reading it whole.
    let rows: Vec<(i32, String, i32)> = sqlx::query_as(
        "select wanted.project, wanted.user_id, known.uid from unnest($1::integer[], $2::text[]) as wanted(project, user_id) \
         cross join lateral (select uid from event_users where project = wanted.project and user_id = wanted.user_id offset 0) as known",
    )
    .bind(projects)
    .bind(users)
    .fetch_all(&mut **lease)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(project, user, uid)| ((project, user), uid))
        .collect())
}

/// Gives numbers to users that may have none: project by project, each held while it gives.
async fn give(lease: &mut Lease, keys: impl Iterator<Item = &(i32, String)>) -> sqlx::Result<()> {
    let mut by_project: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for (project, user) in keys {
        by_project.entry(*project).or_default().push(user.clone());
    }
    for (project, users) in by_project {
        lease.run("begin").await?;
        let next: i32 = sqlx::query_scalar("select users_next from event_projects where number = $1 for update")
            .bind(project)
            .fetch_one(&mut **lease)
            .await?;
        // A statement of its own: it sees who was added while the lock was waited for.
        let given = sqlx::query(
            "insert into event_users (project, user_id, uid) \
             select $1, wanted.user_id, $2 - 1 + row_number() over (order by wanted.place) \
             from unnest($3::text[]) with ordinality as wanted(user_id, place) \
             where not exists (select from event_users as other where other.project = $1 and other.user_id = wanted.user_id)",
        )
        .bind(project)
        .bind(next)
        .bind(users)
        .execute(&mut **lease)
        .await?;
        sqlx::query("update event_projects set users_next = users_next + $2 where number = $1")
            .bind(project)
            .bind(i32::try_from(given.rows_affected()).unwrap_or(i32::MAX))
            .execute(&mut **lease)
            .await?;
        lease.run("commit").await?;
    }
    Ok(())
}
