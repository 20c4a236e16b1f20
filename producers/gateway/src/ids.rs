//! Ids of events, and the partitions that follow from them.

use tidemark_schemas::avro::put_bytes;
use uuid::Uuid;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Clear in the first id of a request, so that counting up from it never reaches the variant.
const CARRY: u128 = 1 << 61;

/// A UUIDv7 of this millisecond with room to count up: RFC 9562 section 6.2, "monotonic random".
pub(crate) fn first_id(now_ms: i64) -> Uuid {
    let random = Uuid::now_v7();
    let mut bytes = [0; 10];
    bytes.iter_mut().zip(random.as_bytes().iter().skip(6)).for_each(|(to, from)| *to = *from);
    let id = uuid::Builder::from_unix_timestamp_millis(u64::try_from(now_ms).unwrap_or(0), &bytes).into_uuid();
    Uuid::from_u128(id.as_u128() & !CARRY)
}

/// A UUIDv8 (RFC 9562 section 5.8) of tenant, key and request hash, with room to count up: the same on every gateway, so that a
/// request that two of them took has the same event ids. XXH3-128 of the two Avro strings and the hash, big-endian. The request
/// is in it, so that another request that wrongly has the same key is never taken for a repeat of this one.
pub(crate) fn keyed_id(tenant: &str, key: &str, request: u128) -> Uuid {
    let mut name = Vec::with_capacity(tenant.len() + key.len() + 20);
    put_key(tenant, key, &mut name);
    name.extend_from_slice(&request.to_be_bytes());
    let id = uuid::Builder::from_custom_bytes(xxh3_128(&name).to_be_bytes()).into_uuid();
    Uuid::from_u128(id.as_u128() & !CARRY)
}

/// The partition of an event, of `partitions`: XXH3-64 of the id's 16 bytes, modulo. It follows from the id alone, so that a
/// repeat lands where the first one is, and a frequent flow is spread over all partitions.
pub(crate) fn partition_of(id: Uuid, partitions: u32) -> u32 {
    u32::try_from(xxh3_64(id.as_bytes()) % u64::from(partitions.max(1))).unwrap_or(0)
}

/// The id of the record numbered `index`.
pub(crate) fn nth_id(first: Uuid, index: usize) -> Uuid {
    Uuid::from_u128(first.as_u128().wrapping_add(index as u128))
}

/// Appends the Kafka key of a gateway record: tenant and key as Avro strings.
pub(crate) fn put_key(tenant: &str, key: &str, out: &mut Vec<u8>) {
    for text in [tenant, key] {
        put_bytes(out, text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::RECORDS_MAX;

    #[test]
    fn keyed_ids_follow_from_tenant_key_and_request_and_count_up() {
        let id = keyed_id("default", "k", 1);
        assert_eq!(id, keyed_id("default", "k", 1));
        assert_eq!(id.to_string(), "8aec7803-ec23-80e3-8006-9a4ce4ba4254");
        assert_eq!((id.get_version_num(), id.get_variant()), (8, uuid::Variant::RFC4122));
        for other in [keyed_id("other", "k", 1), keyed_id("default", "l", 1), keyed_id("default", "k", 2)] {
            assert_ne!(id, other);
        }
        let last = nth_id(Uuid::from_u128(id.as_u128() | (CARRY - 1)), RECORDS_MAX);
        assert_eq!(last.get_variant(), uuid::Variant::RFC4122);
    }

    #[test]
    fn partitions_follow_from_the_id_and_are_even() {
        let mut counts = [0; 8];
        for at in 0..8_000 {
            let partition = partition_of(nth_id(Uuid::nil(), at), 8);
            counts.iter_mut().skip(partition as usize).take(1).for_each(|count| *count += 1);
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
        assert_eq!((partition_of(Uuid::from_u128(5), 1), partition_of(Uuid::from_u128(5), 0)), (0, 0));
    }
}
