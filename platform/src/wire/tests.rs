#![allow(clippy::unwrap_used)]

use super::*;

const NOW_US: i64 = 1_796_000_000_000_000;

fn border() -> Border {
    Border { max_batch_bytes: 1 << 20, max_events: 10, max_ahead_us: 600_000_000 }
}

fn event() -> PhoneEvent {
    PhoneEvent {
        user: UserId(0x0123_4567_89ab_cdef),
        at_us: NOW_US - 5_250_000,
        number: 2,
        utc_offset_secs: 3_600,
        signal: SignalKind::Launch,
        app: Some("org.example.mail".into()),
        place: "u05kq".parse().ok(),
        battery: Battery { percent: Some(71), charging: Some(false) },
        network: Network::Wifi,
    }
}

fn json(events: &str) -> String {
    format!("{{\"version\":1,\"key_id\":\"k-1\",\"events\":[{events}]}}")
}

#[test]
fn both_encodings_say_the_same() {
    let bytes = encode("k-1", [&event()]);
    let from_proto = decode(&bytes, Encoding::Protobuf, &border(), NOW_US).unwrap();
    let at = jiff::Timestamp::from_microsecond(event().at_us).unwrap();
    let text = json(&format!(
        "{{\"user\":\"u0123456789abcdef\",\"at\":\"{at}\",\"utc_offset_secs\":3600,\"signal\":\"launch\",\
         \"app\":\"org.example.mail\",\"number\":2,\"place\":\"u05kq\",\"battery_percent\":71,\"charging\":false,\
         \"network\":\"wifi\"}}"
    ));
    let from_json = decode(text.as_bytes(), Encoding::Json, &border(), NOW_US).unwrap();
    assert_eq!(from_proto, from_json);
    assert_eq!(from_json.events, [event()]);
    let mut vocabulary = Vocabulary::new();
    let in_crate = event().to_event(&mut vocabulary);
    assert_eq!(in_crate.at.0, event().at_us / 1_000_000);
    let back = PhoneEvent::of_event(&in_crate, 2, &vocabulary);
    assert_eq!(PhoneEvent { at_us: event().at_us, ..back }, event());
}

#[test]
fn all_forms_of_a_time_give_exact_microseconds() {
    let first = event().at_us.div_euclid(1_000_000) * 1_000_000;
    for (text, expected) in [
        ("2026-11-30T07:15:00Z", 1_796_022_900_000_000),
        ("2026-11-30T08:15:00+01:00", 1_796_022_900_000_000),
        ("2026-11-30T02:45:00.000001-04:30", 1_796_022_900_000_001),
        ("2026-11-30t07:15:00.123456z", 1_796_022_900_123_456),
        ("2026-11-30 07:15:00.9999999Z", 1_796_022_900_999_999),
    ] {
        let text =
            json(&format!("{{\"user\":\"u0123456789abcdef\",\"at\":\"{text}\",\"signal\":\"unlock\"}}"));
        let batch = decode(text.as_bytes(), Encoding::Json, &border(), NOW_US + first).unwrap();
        assert_eq!(batch.events.first().map(|event| event.at_us), Some(expected), "{text}: {:?}", batch.dead);
    }
}

#[test]
fn what_must_not_come_in_is_refused_by_its_field() {
    let now_secs = NOW_US / 1_000_000;
    let at = |secs: i64| jiff::Timestamp::from_second(secs).unwrap().to_string();
    let long = "a".repeat(10_000);
    for (replaced, by, field) in [
        ("u0123456789abcdef", "somebody@example.org".to_owned(), "user"),
        ("u0123456789abcdef", "u0123456789ABCDEF".to_owned(), "user"),
        ("org.example.mail", long, "app"),
        ("org.example.mail", "a\\u0007b".to_owned(), "app"),
        ("org.example.mail", "jane@example.org".to_owned(), "app"),
        ("org.example.mail", "https://example.org/".to_owned(), "app"),
        ("org.example.mail", "+33 6 12 34 56 78".to_owned(), "app"),
        ("org.example.mail", " ".to_owned(), "app"),
        ("org.example.mail", "\u{202e}abc".to_owned(), "app"),
        ("org.example.mail", String::new(), "app"),
        ("launch", "unlock".to_owned(), "app"),
        ("launch", "open".to_owned(), "signal"),
        ("u05kq", "u05kqm".to_owned(), "place"),
        ("u05kq", "48.85,2.35".to_owned(), "place"),
        ("\"battery_percent\":71", "\"battery_percent\":171".to_owned(), "battery_percent"),
        ("\"battery_percent\":71", "\"battery_percent\":-1".to_owned(), "event"),
        ("\"battery_percent\":71", "\"latitude\":48.8".to_owned(), "event"),
        ("\"number\":2", "\"number\":10000".to_owned(), "number"),
        ("3600", "90000".to_owned(), "utc_offset_secs"),
        ("wifi", "home".to_owned(), "network"),
        ("AT", at(0), "at"),
        ("AT", at(now_secs + 601), "at"),
        ("AT", "2100-01-01T00:00:00Z".to_owned(), "at"),
        ("AT", "1796000000".to_owned(), "at"),
        ("AT", "2026-11-30T07:15:00".to_owned(), "at"),
    ] {
        let text = "{\"user\":\"u0123456789abcdef\",\"at\":\"AT\",\"utc_offset_secs\":3600,\"signal\":\"launch\",\
                    \"app\":\"org.example.mail\",\"number\":2,\"place\":\"u05kq\",\"battery_percent\":71,\
                    \"charging\":false,\"network\":\"wifi\"}";
        let good = text.replace("AT", &at(now_secs));
        let bad = text.replacen(replaced, &by, 1).replace("AT", &at(now_secs));
        let batch =
            decode(json(&format!("{good},{bad}")).as_bytes(), Encoding::Json, &border(), NOW_US).unwrap();
        assert_eq!((batch.events.len(), batch.dead.len()), (1, 1), "{by}: {:?}", batch.dead);
        assert_eq!((batch.dead[0].index, batch.dead[0].refusal.field), (1, field), "{by}");
        let reason = &batch.dead[0].refusal.reason;
        assert!(!reason.contains("somebody") && !reason.contains("jane"), "{reason}");
        assert_eq!(batch.dead[0].raw, bad.as_bytes(), "as it came");
    }
}

#[test]
fn a_batch_that_cannot_be_read_is_refused_whole() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let eleven = ["{}"; 11].join(",");
    let long = " ".repeat(border().max_batch_bytes + 1);
    for (text, field) in [
        ("", "batch"),
        ("{}", "batch"),
        ("[1]", "batch"),
        (&json("{}")[..20], "batch"),
        (&deep, "batch"),
        (&long, "batch"),
        (&json("{}").replace("\"version\":1", "\"version\":2"), "version"),
        (&json("{}").replace("k-1", "the key of November"), "key_id"),
        (&json(&eleven), "events"),
    ] {
        let refusal = decode(text.as_bytes(), Encoding::Json, &border(), NOW_US).unwrap_err();
        assert_eq!(refusal.field, field, "{refusal:?}");
    }
    let bytes = encode("k-1", [&event()]);
    for end in 1..bytes.len() {
        if let Ok(batch) = decode(&bytes[..end], Encoding::Protobuf, &border(), NOW_US) {
            assert!(batch.events.is_empty(), "a cut batch has no event: {end}");
        }
    }
}

#[test]
fn events_are_told_apart_by_time_signal_app_and_number() {
    let same = event();
    let others = [
        PhoneEvent { at_us: same.at_us + 1, ..event() },
        PhoneEvent { number: 3, ..event() },
        PhoneEvent { signal: SignalKind::Close, ..event() },
        PhoneEvent { app: Some("org.example.maps".into()), ..event() },
    ];
    assert_eq!(same.identity(), event().identity());
    assert!(others.iter().all(|other| other.identity() != same.identity()));
    // What a phone notices beside does not make another event of it.
    assert_eq!(PhoneEvent { network: Network::Offline, ..event() }.identity(), same.identity());
}

#[test]
fn a_batch_of_too_many_empty_events_is_refused_before_it_takes_memory() {
    let border = Border { max_batch_bytes: 16 << 20, max_events: 20_000, max_ahead_us: 0 };
    // Version and key, then events of no bytes: two bytes each.
    let mut bytes = vec![0x08, 1, 0x12, 2, b'k', b'1'];
    bytes.extend([0x1a, 0].repeat(8_000_000));
    let started = std::time::Instant::now();
    let refused = decode(&bytes, Encoding::Protobuf, &border, i64::MAX).unwrap_err();
    assert_eq!(refused.field, "events");
    assert!(refused.reason.contains("8000000 events"), "{}", refused.reason);
    assert!(started.elapsed() < std::time::Duration::from_secs(1), "{:?}", started.elapsed());
    // One that is cut is none.
    let cut = decode(&[0x08, 1, 0x1a, 9, 1], Encoding::Protobuf, &border, i64::MAX).unwrap_err();
    assert_eq!(cut.field, "batch");
}
