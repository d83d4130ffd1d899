//! Types of PostgreSQL that sqlx leaves to others.

use model::Timestamp;
use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef, types::Oid},
};

/// `timestamp without time zone`.
pub(crate) const TIMESTAMP: Oid = Oid(1114);
const TIMESTAMP_ARRAY: Oid = Oid(1115);
/// A parameter whose type is the statement's business.
const UNKNOWN: Oid = Oid(705);
/// 2000-01-01, where PostgreSQL counts from, in microseconds since 1970.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The same in days.
pub(crate) const EPOCH_DAYS: i32 = 10_957;

/// An instant as a `timestamp`, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instant(pub(crate) Timestamp);

impl Instant {
    /// As PostgreSQL's binary format has it.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        // In range for years 0001 to 9999.
        (self.0.as_micros() - EPOCH_MICROS).to_be_bytes()
    }

    /// From PostgreSQL's binary format; `None` outside years 0001 to 9999.
    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        let micros = i64::from_be_bytes(bytes).checked_add(EPOCH_MICROS)?;
        Timestamp::from_micros(micros).map(Self)
    }
}

impl Type<Postgres> for Instant {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMP)
    }
}

impl PgHasArrayType for Instant {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMP_ARRAY)
    }
}

impl Encode<'_, Postgres> for Instant {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.to_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Instant {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let bytes = value.as_bytes()?.try_into()?;
        Self::from_bytes(bytes).ok_or_else(|| "an instant outside years 1 to 9999".into())
    }
}

/// No value, of no type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nothing;

impl Type<Postgres> for Nothing {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(UNKNOWN)
    }
}

impl Encode<'_, Postgres> for Nothing {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}
