//! Batches with damage of every kind: each event is accepted or refused with a reason, and nothing panics.

#![allow(clippy::unwrap_used)]

use foretap::data::UserId;
use foretap_platform::wire::{Border, Encoding, PhoneEvent, SignalKind, decode, encode};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const NOW_US: i64 = 1_796_000_000_000_000;
const BORDER: Border = Border { max_events: 100, max_ahead_us: 600_000_000, max_batch_bytes: 1 << 20 };

fn events(random: &mut ChaCha8Rng) -> Vec<PhoneEvent> {
    let one = |number: u32, random: &mut ChaCha8Rng| {
        let signal = SignalKind::ALL[random.random_range(0..6)];
        PhoneEvent {
            user: UserId(random.random()),
            at_us: NOW_US - random.random_range(0..1_000_000_000_000),
            number,
            utc_offset_secs: random.random_range(-43_200..50_400),
            signal,
            app: signal.has_app().then(|| format!("app.{}", random.random_range(0..50)).into()),
            place: None,
            battery: foretap::data::Battery::default(),
            network: foretap::data::Network::Wifi,
        }
    };
    let count = random.random_range(1..20);
    (0..count).map(|number| one(number, random)).collect()
}

fn json(events: &[PhoneEvent]) -> Vec<u8> {
    let event = |event: &PhoneEvent| {
        let at = jiff::Timestamp::from_microsecond(event.at_us).unwrap().to_string();
        let mut fields = serde_json::json!({
            "user": event.user.to_string(), "at": at, "utc_offset_secs": event.utc_offset_secs,
            "signal": event.signal.name(), "number": event.number, "network": "wifi",
        });
        if let Some(app) = &event.app {
            fields["app"] = serde_json::Value::String(app.to_string());
        }
        fields
    };
    let events: Vec<_> = events.iter().map(event).collect();
    serde_json::json!({ "version": 1, "key_id": "k", "events": events }).to_string().into_bytes()
}

#[test]
fn damaged_batches_are_refused_or_read_and_never_panic() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (mut whole, mut refused, mut accepted, mut dead) = (0, 0, 0, 0);
    for round in 0..20_000 {
        let sent = events(&mut random);
        let encoding = if round % 2 == 0 { Encoding::Json } else { Encoding::Protobuf };
        let mut bytes = match encoding {
            Encoding::Json => json(&sent),
            Encoding::Protobuf => encode("k", &sent),
        };
        if round % 10 == 0 {
            let batch = decode(&bytes, encoding, &BORDER, NOW_US).unwrap();
            assert_eq!(batch.events, sent, "undamaged");
            continue;
        }
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..5) {
                0 => bytes[at] = random.random(),
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, random.random()),
                3 => drop(bytes.remove(at.min(bytes.len().saturating_sub(2)))),
                _ => {
                    let part = bytes[at..(at + 20).min(bytes.len())].to_vec();
                    bytes.splice(at..at, part);
                }
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        match decode(&bytes, encoding, &BORDER, NOW_US) {
            Ok(batch) => {
                whole += 1;
                accepted += batch.events.len();
                dead += batch.dead.len();
                assert!(
                    batch
                        .dead
                        .iter()
                        .all(|dead| !dead.refusal.field.is_empty() && !dead.refusal.reason.is_empty())
                );
                // What was let in can be kept and read again.
                for event in &batch.events {
                    let again = decode(&encode("k", [event]), Encoding::Protobuf, &BORDER, NOW_US).unwrap();
                    assert_eq!(again.events, std::slice::from_ref(event));
                }
            }
            Err(refusal) => {
                refused += 1;
                assert!(!refusal.field.is_empty() && !refusal.reason.is_empty());
            }
        }
    }
    assert!(
        whole > 500 && refused > 500 && accepted > 500 && dead > 500,
        "{whole} {refused} {accepted} {dead}"
    );
}
