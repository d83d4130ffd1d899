//! Claims: who was first to bring an event of this id.
//!
//! Claims are kept by epochs of `received_at`, those of imported events by the time of the import; a look-up asks the epoch of the event and its neighbours, and an epoch is dropped whole
//! once it and the one after it have passed. So a claim is known for one to two epochs, and the disk they take is bounded.

use fjall::Keyspace;
use model::{EventId, Timestamp, ledger::utc_day, limits};
use uuid::Uuid;

use super::{Changes, Index, keyspace_options};
use crate::failure::Failure;

/// Days of an epoch: one more than must be remembered, so that the clock of a retry may be a day off.
const EPOCH_DAYS: i64 = limits::IDEMPOTENCY_WINDOW_DAYS + 1;
/// Days that claims are remembered at most.
pub(crate) const REMEMBERED_DAYS: i64 = 2 * EPOCH_DAYS;
const KEYSPACE: &str = "claims-";

/// The delivery that claims an id: a queue (folded to four bytes) and a position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) queue: u32,
    pub(crate) position: u64,
}

impl Owner {
    /// Owns the ids of events that were in the database when the index was rebuilt. No queue folds to 0.
    pub(crate) const PAST: Self = Self { queue: 0, position: 0 };

    /// A delivery by a queue.
    pub(crate) fn delivery(queue: Uuid, position: u64) -> Self {
        Self {
            queue: fold(queue),
            position,
        }
    }

    /// Whether this owner's event is stored, so that `other` comes too late.
    fn holds_against(self, other: Self, is_stored: impl Fn(Self) -> bool) -> bool {
        self == Self::PAST || (self != other && is_stored(self))
    }

    /// The queue, then the position without its leading zeros: there is one of these per event.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(12);
        bytes.extend_from_slice(&self.queue.to_le_bytes());
        let used = 8 - self.position.leading_zeros() as usize / 8;
        bytes.extend_from_slice(&self.position.to_le_bytes()[..used]);
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Failure> {
        let damaged = || Failure::Damaged(format!("a claim of {} bytes", bytes.len()));
        let (queue, used) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let mut position = [0; 8];
        position
            .get_mut(..used.len())
            .ok_or_else(damaged)?
            .copy_from_slice(used);
        Ok(Self {
            queue: u32::from_le_bytes(*queue),
            position: u64::from_le_bytes(position),
        })
    }
}

/// A queue's id in four bytes, never 0. Two queues of one store fold alike once in four billion.
pub(crate) fn fold(queue: Uuid) -> u32 {
    let (high, low) = queue.as_u64_pair();
    let folded = high ^ low;
    ((folded ^ (folded >> 32)) as u32).max(1)
}

/// The epoch that an instant of receipt lies in.
pub(super) fn epoch_of(received_at: Timestamp) -> i64 {
    i64::from(utc_day(received_at)).div_euclid(EPOCH_DAYS)
}

/// The epoch of a keyspace of claims; `None` for every other keyspace.
pub(super) fn epoch_of_keyspace(name: &str) -> Option<i64> {
    name.strip_prefix(KEYSPACE)?.parse().ok()
}

impl Index {
    /// Claims `id` for `owner` and says whether `owner` has it now. It has not when an earlier owner's event is stored, which `is_stored` tells:
    /// claims of deliveries that never made it into the database count for nothing.
    ///
    /// `now` decides which epochs have passed.
    pub(crate) fn claim(
        &mut self,
        changes: &mut Changes,
        id: EventId,
        received_at: Timestamp,
        now: Timestamp,
        owner: Owner,
        is_stored: impl Fn(Owner) -> bool,
    ) -> Result<bool, Failure> {
        let epoch = epoch_of(received_at);
        for keyspace in self.claims.range(epoch - 1..=epoch + 1).map(|(_, keyspace)| keyspace) {
            let Some(found) = keyspace.get(id.0.as_bytes())? else {
                continue;
            };
            let found = Owner::from_bytes(&found)?;
            if found.holds_against(owner, &is_stored) {
                return Ok(false);
            }
        }
        // A claim of its own from an earlier delivery is written again: then `changes` names all that a refusal must release.
        let keyspace = self.claims_of(epoch, epoch_of(now))?;
        changes.insert(&keyspace, *id.0.as_bytes(), owner.to_bytes());
        changes.claimed.push((epoch, id));
        Ok(true)
    }

    /// Claims `id` for whoever brings it from `as_of` on, whenever its event was received: a line that is imported may tell a time that passed
    /// long ago. Whether the event is new is for others to say.
    pub(crate) fn claim_as_of(
        &mut self,
        changes: &mut Changes,
        id: EventId,
        as_of: Timestamp,
        now: Timestamp,
        owner: Owner,
        is_stored: impl Fn(Owner) -> bool,
    ) -> Result<(), Failure> {
        let epoch = epoch_of(as_of);
        let keyspace = self.claims_of(epoch, epoch_of(now))?;
        // One that counts stays as it is: should this batch be refused, `release` must not give up what another one claimed.
        if let Some(found) = keyspace.get(id.0.as_bytes())?
            && Owner::from_bytes(&found)?.holds_against(owner, is_stored)
        {
            return Ok(());
        }
        changes.insert(&keyspace, *id.0.as_bytes(), owner.to_bytes());
        changes.claimed.push((epoch, id));
        Ok(())
    }

    /// As of when `id` is claimed by an event that is stored, which `is_stored` tells: the beginning of its last epoch.
    pub(crate) fn claimed_at(
        &self,
        id: EventId,
        is_stored: impl Fn(Owner) -> bool,
    ) -> Result<Option<Timestamp>, Failure> {
        for (epoch, keyspace) in self.claims.iter().rev() {
            let Some(found) = keyspace.get(id.0.as_bytes())? else {
                continue;
            };
            let found = Owner::from_bytes(&found)?;
            if found == Owner::PAST || is_stored(found) {
                return Ok(Some(
                    Timestamp::default().saturating_add_seconds(epoch * EPOCH_DAYS * 86_400),
                ));
            }
        }
        Ok(None)
    }

    /// Gives claims up, durably: their events were refused, and whoever brings them next is first.
    pub(crate) fn release(&mut self, claims: &[(i64, EventId)]) -> Result<(), Failure> {
        let mut batch = self.durable_batch();
        for (epoch, id) in claims {
            if let Some(keyspace) = self.claims.get(epoch) {
                batch.remove(keyspace, *id.0.as_bytes());
            }
        }
        Ok(batch.commit()?)
    }

    /// The keyspace of an epoch. A new one is the occasion to drop those that have passed, seen from `epoch` and from `now` alike:
    /// neither a clock that jumped ahead nor an old backlog makes recent claims forgotten.
    fn claims_of(&mut self, epoch: i64, now: i64) -> Result<Keyspace, Failure> {
        if let Some(keyspace) = self.claims.get(&epoch) {
            return Ok(keyspace.clone());
        }
        let kept = self.claims.split_off(&(epoch.min(now) - 1));
        for (_, passed) in std::mem::replace(&mut self.claims, kept) {
            self.database.delete_keyspace(passed)?;
        }
        self.make_claims_of(epoch)
    }

    /// The keyspace of an epoch, beside all others.
    pub(super) fn make_claims_of(&mut self, epoch: i64) -> Result<Keyspace, Failure> {
        if let Some(keyspace) = self.claims.get(&epoch) {
            return Ok(keyspace.clone());
        }
        let keyspace = self
            .database
            .keyspace(&format!("{KEYSPACE}{epoch}"), keyspace_options)?;
        self.claims.insert(epoch, keyspace.clone());
        Ok(keyspace)
    }
}
