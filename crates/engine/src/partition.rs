//! Which partition of its topic a record stands in: Kafka's own rule, so that whoever knows a key knows its partition.
//!
//! Invariant: it follows from the key's bytes and the number of partitions alone. Start at [`partition_of`].

/// The partition of a record with this key, below `partitions`: `toPositive(murmur2(key)) % partitions`, as Kafka's
/// producers place it (`BuiltInPartitioner.partitionForKey`). Records without a key, which producers spread by chance, stand
/// in the first, so that a table without a key keeps its order.
pub fn partition_of(key: Option<&[u8]>, partitions: u32) -> u32 {
    match key {
        Some(key) if partitions > 1 => (murmur2(key) & i32::MAX as u32) % partitions,
        _ => 0,
    }
}

/// Kafka's `Utils.murmur2`: MurmurHash2 with its seed, over little-endian words.
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> R)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_own_tests() {
        let cases = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn keys_stand_where_a_producer_put_them() {
        let captured = [(0, [1, 3, 7, 8, 9].as_slice()), (1, &[2, 6, 10, 11]), (2, &[4, 5, 12])];
        for (partition, ids) in captured {
            for id in ids {
                assert_eq!(partition_of(Some(format!("{{\"id\":{id}}}").as_bytes()), 3), partition, "{id}");
            }
        }
        assert_eq!(partition_of(None, 3), 0);
        assert_eq!(partition_of(Some(b"any"), 1), 0);
    }
}
