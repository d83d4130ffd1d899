//! The bytes, fixed: a change here is a new format version.

use model::{ProjectId, Timestamp};
use uuid::Uuid;

use super::format::{
    HeaderError, Item, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, Seed, SegmentHeader, Walk, seal_payloads,
    seal_positions,
};
use crate::{Record, Records};

const QUEUE: Uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);

fn record(payload: &'static [u8]) -> Record {
    Record {
        project_id: ProjectId(Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10)),
        received_at: Timestamp::from_micros(1_700_000_000_000_000).unwrap(),
        events: 1,
        payload: payload.into(),
    }
}

/// The bytes of one append.
fn encoded(records: &[Record], first_position: u64) -> Vec<u8> {
    let mut append = Records::from(records);
    seal_payloads(Seed::of(QUEUE), append.bytes_mut(), records.len());
    let next = seal_positions(Seed::of(QUEUE), append.bytes_mut(), first_position);
    assert_eq!(next, first_position + records.len() as u64);
    append.bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_segment_header_has_these_bytes() {
    let header = SegmentHeader {
        queue: QUEUE,
        base: 0x16,
        capacity: 4096,
        previous_base: 1,
        previous_end: 0x16,
    };
    let bytes = header.encode();
    assert_eq!(bytes.len(), SEGMENT_HEADER_BYTES);
    assert_eq!(
        hex(&bytes),
        "534151554555450a0932980e0100000000112233445566778899aabbccddeeff\
         1600000000000000001000000000000001000000000000001600000000000000"
    );
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
    assert_eq!(SegmentHeader::decode(&bytes[..63]), Err(HeaderError::Damaged));
}

#[test]
fn a_record_has_these_bytes() {
    let mut bytes = encoded(&[record(b"payload"), record(b""), record(b"x")], 7);
    assert_eq!(bytes.len(), 3 * RECORD_HEADER_BYTES + 8);
    bytes.truncate(RECORD_HEADER_BYTES + 7);
    assert_eq!(
        hex(&bytes),
        "f1536152e7cb1a2707000000000000000102030405060708090a0b0c0d0e0f1000401e18240a0600\
         010000000200000007000000dd2917247061796c6f6164"
    );
}

#[test]
fn a_walk_tells_what_it_meets() {
    let seed = Seed::of(QUEUE);
    let mut bytes = Vec::new();
    for position in 5..9 {
        bytes.extend(encoded(&[record(b"0123456789")], position));
    }
    let one = bytes.len() / 4;
    // The second record's header is damaged, the last one is cut.
    bytes[one + 20] ^= 1;
    bytes.truncate(4 * one - 3);
    let mut walk = Walk::new(seed, &bytes, 5);
    let told: Vec<String> = walk
        .by_ref()
        .map(|item| match item {
            Item::Record { header, range, missing } => {
                format!("{} at {} missing {missing}", header.position, range.start)
            }
            Item::Damage(range) => format!("damage {range:?}"),
            Item::Cut(at) => format!("cut {at}"),
        })
        .collect();
    let expected = [
        "5 at 0 missing 0".to_owned(),
        format!("damage {one}..{}", 2 * one),
        format!("7 at {} missing 1", 2 * one),
        format!("cut {}", 3 * one),
    ];
    assert_eq!(told, expected);
    assert_eq!(walk.expected(), 8);
    // Records of another queue are no records.
    assert!(matches!(
        Walk::new(Seed::of(Uuid::nil()), &bytes, 5).next(),
        Some(Item::Damage(_))
    ));
}
