//! Appends: those that wait at the same time go in one call.

use std::{collections::BTreeMap, sync::Arc};

use model::{ProjectId, limits};
use redis::Cmd;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    Core, entry,
    link::{Failure, Link, time_for},
    scripts,
};
use crate::{QueueError, RecordRef, Records};

/// The semaphore counts in these.
const PERMIT_BYTES: usize = 1024;

/// An append that waits.
pub(super) struct Request {
    records: Records,
    answer: oneshot::Sender<Result<(), QueueError>>,
    /// Given back with the answer.
    _room: OwnedSemaphorePermit,
}

/// Where appends wait for the writer: bounded in number and bytes.
#[derive(Clone)]
pub(super) struct Inbox {
    requests: mpsc::Sender<Request>,
    room: Arc<Semaphore>,
}

impl Inbox {
    pub(super) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(limits::REDIS_APPENDS_WAITING_MAX);
        let permits = limits::QUEUE_APPEND_BYTES_IN_FLIGHT_MAX / PERMIT_BYTES;
        let room = Arc::new(Semaphore::new(permits));
        (Self { requests, room }, receiver)
    }

    /// Hands records to the writer and waits for its answer. Records handed over are appended even when the caller goes away.
    pub(super) async fn append(&self, records: Records) -> Result<(), QueueError> {
        let bytes = records.bytes().len();
        if bytes > limits::QUEUE_APPEND_BYTES_MAX {
            return Err(QueueError::Unavailable(format!(
                "an append of {bytes} bytes is more than the {} that one may have: send fewer events at once",
                limits::QUEUE_APPEND_BYTES_MAX
            )));
        }
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room);
        let room = room.acquire_many_owned(permits).await.map_err(|_| QueueError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let request = Request {
            records,
            answer,
            _room: room,
        };
        self.requests.send(request).await.map_err(|_| QueueError::Closed)?;
        answered.await.unwrap_or(Err(QueueError::Closed))
    }
}

/// Appends until the inbox is closed and empty.
pub(super) async fn run(core: Arc<Core>, mut requests: mpsc::Receiver<Request>) {
    let link = Link::new(Arc::clone(&core.server));
    let mut left = None;
    loop {
        let first = match left.take() {
            Some(first) => first,
            None => match requests.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let mut bytes = first.records.bytes().len();
        let mut group = vec![first];
        // Whoever is about to append joins: a call costs as much for two appends as for fifty.
        let mut yielded = false;
        loop {
            match requests.try_recv() {
                Ok(request) if bytes + request.records.bytes().len() <= limits::REDIS_GROUP_BYTES_MAX => {
                    bytes += request.records.bytes().len();
                    group.push(request);
                    yielded = false;
                }
                Ok(request) => {
                    left = Some(request);
                    break;
                }
                Err(_) if !yielded => {
                    yielded = true;
                    tokio::task::yield_now().await;
                }
                Err(_) => break,
            }
        }
        let appends: Vec<&Records> = group.iter().map(|request| &request.records).collect();
        let verdicts = append(&core, &link, &appends, &Mark::none()).await;
        for (index, request) in group.into_iter().enumerate() {
            let verdict = match &verdicts {
                Ok(verdicts) if verdicts.get(index) == Some(&1) => Ok(()),
                Ok(_) => Err(core.full()),
                Err(failure) => Err(failure.clone().into()),
            };
            // He may have gone: the append stands all the same.
            let _ = request.answer.send(verdict);
        }
    }
}

/// How far another queue has been copied into this one; moves in the same step as the records come.
pub(super) struct Mark {
    /// Whose; empty = nobody's.
    pub name: String,
    /// As it must be before.
    pub expected: u64,
    /// As it is afterwards.
    pub next: u64,
}

impl Mark {
    fn none() -> Self {
        Self {
            name: String::new(),
            expected: 0,
            next: 0,
        }
    }
}

/// One call for several appends; the verdicts are the script's.
pub(super) async fn append(core: &Core, link: &Link, appends: &[&Records], mark: &Mark) -> Result<Vec<i64>, Failure> {
    let keys = &core.keys;
    let keys = [&*keys.stream, &keys.state, &keys.projects, &keys.marks];
    let mut command = scripts::call(&core.scripts.append, &keys);
    command
        .arg(core.options.bytes_max)
        .arg(limits::REDIS_ENTRY_OVERHEAD_BYTES)
        .arg(&mark.name)
        .arg(mark.expected)
        .arg(mark.next)
        .arg(appends.len());
    let mut bytes = 0;
    let mut buffer = Vec::new();
    for records in appends {
        bytes += records.bytes().len();
        push(&mut command, records, &mut buffer);
    }
    if core.options.wait_replicas == 0 {
        return link.query(&command, time_for(bytes)).await;
    }
    let mut both = redis::pipe();
    both.add_command(command).add_command(wait(core));
    let time = time_for(bytes) + limits::REDIS_REPLICATION_TIMEOUT;
    let (verdicts, replicas) = link.pipeline(&both, time).await?;
    replicated(core, replicas)?;
    Ok(verdicts)
}

/// Returns when replicas have all that was appended through this link; at once where none are waited for.
pub(super) async fn wait_for_replicas(core: &Core, link: &Link) -> Result<(), Failure> {
    if core.options.wait_replicas == 0 {
        return Ok(());
    }
    // Replicas are asked about what this connection has written: without a write of its own it would hear of nothing.
    let mut touch = redis::cmd("HDEL");
    touch.arg(&core.keys.state).arg("nothing");
    let mut both = redis::pipe();
    both.add_command(touch).ignore().add_command(wait(core));
    let time = limits::REDIS_ANSWER_TIMEOUT + limits::REDIS_REPLICATION_TIMEOUT;
    let (replicas,) = link.pipeline(&both, time).await?;
    replicated(core, replicas)
}

/// Asks how many replicas have what this connection wrote.
fn wait(core: &Core) -> Cmd {
    let mut wait = redis::cmd("WAIT");
    let time = limits::REDIS_REPLICATION_TIMEOUT.as_millis();
    wait.arg(core.options.wait_replicas)
        .arg(u64::try_from(time).unwrap_or(u64::MAX));
    wait
}

fn replicated(core: &Core, replicas: u32) -> Result<(), Failure> {
    let wanted = core.options.wait_replicas;
    if replicas >= wanted {
        return Ok(());
    }
    Err(Failure::Unreplicated(format!(
        "{replicas} of the {wanted} replicas that REDIS_WAIT_REPLICAS asks for have confirmed within {} ms",
        limits::REDIS_REPLICATION_TIMEOUT.as_millis()
    )))
}

fn push(command: &mut Cmd, records: &Records, buffer: &mut Vec<u8>) {
    let mut projects: BTreeMap<ProjectId, u64> = BTreeMap::new();
    for RecordRef { project_id, events, .. } in records.iter() {
        *projects.entry(project_id).or_default() += u64::from(events);
    }
    command.arg(projects.len()).arg(records.len());
    for (project, events) in projects {
        command.arg(project.to_string()).arg(events);
    }
    for record in records.iter() {
        entry::write(buffer, record);
        command.arg(&buffer[..]);
    }
}
