//! People of the dashboard.

use serde::{Deserialize, Serialize};

use crate::{PersonId, Timestamp};

/// Somebody who signs in to the dashboard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Fixed for life.
    pub id: PersonId,
    /// Sign-in name; unique without regard to case.
    pub email: String,
    /// May do everything in every project.
    pub is_superuser: bool,
    /// Argon2id in PHC string form; never leaves the server.
    #[serde(skip_serializing, default)]
    pub password_hash: String,
    /// When the account was made.
    pub created_at: Timestamp,
}
