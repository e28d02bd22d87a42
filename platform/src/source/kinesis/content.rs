//! What a record of Kinesis holds: a batch of events, or several of them that Amazon's producer library (KPL) has put together.
//!
//! An aggregated record is `F3 89 9A C2`, a Protobuf message, and the MD5 of that message
//! (<https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>):
//!
//! ```text
//! message AggregatedRecord { repeated string partition_key_table = 1; repeated string explicit_hash_key_table = 2;
//!                            repeated Record records = 3; }
//! message Record { required uint64 partition_key_index = 1; optional uint64 explicit_hash_key_index = 2;
//!                  required bytes data = 3; repeated Tag tags = 4; }
//! ```

use bytes::Bytes;
use md5::{Digest as _, Md5};
use prost::Message as _;

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
const SUM_BYTES: usize = 16;
/// Records in an aggregated one, at most: an empty one takes two bytes, and each of them a place in memory.
const MOST_RECORDS: usize = 100_000;
/// The field of records, and the wire type of what has a length.
const RECORDS: usize = 3;
const WITH_LENGTH: usize = 2;

/// One record of an aggregated one. Its keys chose the shard, and are of no use any more.
#[derive(Clone, PartialEq, prost::Message)]
struct Part {
    #[prost(bytes = "bytes", required, tag = "3")]
    data: Bytes,
}

/// The batches that a record holds, at least one. One that claims to be aggregated and cannot be read as such is handed on as it
/// is: no batch either, it becomes a dead letter with all of its bytes.
pub(super) fn batches(data: Bytes) -> Vec<Bytes> {
    let Some(message) = message(&data) else { return vec![data] };
    match parts(message) {
        Ok(parts) if !parts.is_empty() => parts,
        Ok(_) => vec![data],
        Err(why) => {
            tracing::warn!(%why, "an aggregated record cannot be read: it is a dead letter");
            vec![data]
        }
    }
}

/// The message of an aggregated record. Where the sum is not right it is none: so the client library of Kinesis has it, too.
fn message(data: &Bytes) -> Option<Bytes> {
    let end = data.len().checked_sub(SUM_BYTES).filter(|end| *end >= MAGIC.len())?;
    if data[..MAGIC.len()] != MAGIC {
        return None;
    }
    let message = data.slice(MAGIC.len()..end);
    (Md5::digest(&message)[..] == data[end..]).then_some(message)
}

/// Field by field, so that their number is known before they take memory.
fn parts(mut rest: Bytes) -> Result<Vec<Bytes>, String> {
    let number = |rest: &mut Bytes| prost::decode_length_delimiter(rest).map_err(|error| error.to_string());
    let mut found = Vec::new();
    while !rest.is_empty() {
        let key = number(&mut rest)?;
        let (field, wire_type) = (key >> 3, key & 7);
        if wire_type != WITH_LENGTH {
            return Err(format!("field {field} has no length"));
        }
        let length = number(&mut rest)?;
        if length > rest.len() {
            return Err(format!("field {field} is cut"));
        }
        let content = rest.split_to(length);
        if field != RECORDS {
            continue;
        }
        if found.len() == MOST_RECORDS {
            return Err(format!("more than {MOST_RECORDS} records"));
        }
        found.push(Part::decode(content).map_err(|error| error.to_string())?.data);
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// One partition key and the records `one`, nothing and `three`, as aws-kinesis-agg 1.2.3 for Python puts them together:
    ///
    /// ```python
    /// aggregator = aws_kinesis_agg.aggregator.RecordAggregator()
    /// for data in (b"one", b"", b"three"): aggregator.add_user_record("k", data)
    /// print(aggregator.clear_and_get().get_contents()[2].hex())
    /// ```
    const THREE: &str =
        "f3899ac20a016b1a0708001a036f6e651a0408001a001a0908001a0574687265656d9ddc11afd9dea34a1cf20d4cd73b37";
    /// The same of `one` and `two` under keys of their own, the second with a hash key, too.
    const TWO: &str = "f3899ac20a026b310a026b32120531323334351a0708001a036f6e651a09080110001a0374776fe2266dfebf053b2817b5cad7f64cc70c";

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    fn sealed(message: &[u8]) -> Vec<u8> {
        [&MAGIC[..], message, &Md5::digest(message)[..]].concat()
    }

    #[test]
    fn an_aggregated_record_is_its_parts_and_anything_else_is_itself() {
        let found = |data: &[u8]| batches(Bytes::copy_from_slice(data));
        assert_eq!(found(&bytes(THREE)), [&b"one"[..], b"", b"three"]);
        assert_eq!(found(&bytes(TWO)), [&b"one"[..], b"two"]);
        let mut damaged = bytes(TWO);
        *damaged.last_mut().unwrap() ^= 1;
        let bomb = sealed(&[0x1A, 0].repeat(MOST_RECORDS + 1));
        let most = sealed(&[0x1A, 0].repeat(MOST_RECORDS));
        assert_eq!(found(&most).len(), MOST_RECORDS);
        for plain in [
            b"".to_vec(),
            b"{}".to_vec(),
            MAGIC.to_vec(),
            damaged,
            sealed(&[]),
            // A length beyond the end, a field without a length, a part that is no message.
            sealed(&[0x1A, 9, 1]),
            sealed(&[0x08, 1]),
            sealed(&[0x1A, 2, 0x1A, 9]),
            bomb,
        ] {
            assert_eq!(found(&plain), [&plain[..]]);
        }
    }
}
