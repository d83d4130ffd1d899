//! Identifiers, one type each, so that one is never taken for another.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use uuid::Uuid;

use crate::Timestamp;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id (UUID version 7, RFC 9562): ids made later sort later, to the millisecond of `now`.
            pub fn generate(now: Timestamp) -> Self {
                Self(uuid_v7(now))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id_type!(
    /// A project: the tenant. Everything that is stored belongs to exactly one.
    ProjectId
);
id_type!(
    /// A named origin of events inside a project.
    SourceId
);
id_type!(
    /// Somebody who signs in to the dashboard.
    PersonId
);
id_type!(
    /// An accepted event; fixed at acceptance, the same for every retry and redelivery of it.
    EventId
);

impl EventId {
    /// The id of an event that its client named: UUID version 5 over project and name, so that a retry
    /// meets its first try whatever its time says (`semantics.md`, "Who is counted": project and `event_id` alone).
    pub fn from_client(project_id: ProjectId, client_event_id: &str) -> Self {
        // RFC 9562, section 5.5. Not `Uuid::new_v5`: its SHA-1 knows nothing of the processor's own, and costs five times as much.
        let hash = Sha1::new()
            .chain_update(project_id.0.as_bytes())
            .chain_update(client_event_id.as_bytes())
            .finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Self(uuid::Builder::from_sha1_bytes(bytes).into_uuid())
    }
}

fn uuid_v7(now: Timestamp) -> Uuid {
    let millis = u64::try_from(now.as_micros() / 1_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_id_is_a_uuid_of_version_5() {
        let project = ProjectId(Uuid::from_u128(7));
        for id in ["", "order-1", "ä 𝄞", &"x".repeat(1_000)] {
            let expected = Uuid::new_v5(&project.0, id.as_bytes());
            assert_eq!(EventId::from_client(project, id).0, expected, "{id}");
        }
    }
}
