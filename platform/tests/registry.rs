//! Versions, approvals, and what is live: whatever happens at once, or was damaged.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use foretap::bundle::Bundle;
use foretap_platform::registry::{Card, Registry};

fn card(learned_from: &str) -> Card {
    Card {
        made_at: 0,
        learned_from: learned_from.to_owned(),
        data_version: None,
        parent: Some(1),
        comparison: None,
        passed_gate: None,
        code: "0".to_owned(),
    }
}

fn opened(folder: &Path) -> Registry {
    Registry::open(&folder.join("models")).unwrap()
}

#[test]
fn of_many_who_approve_at_once_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let registry = opened(folder.path());
    assert_eq!(
        registry.live().unwrap().map(|live| live.version),
        Some(1),
        "what ships is live from the start"
    );
    let bundle = registry.bundle(1).unwrap();
    let adders: Vec<_> = (0..10)
        .map(|number| {
            let (registry, bundle) = (registry.clone(), bundle.clone());
            std::thread::spawn(move || registry.add(&bundle, &card(&number.to_string())).unwrap())
        })
        .collect();
    let mut versions: Vec<u32> = adders.into_iter().map(|adder| adder.join().unwrap()).collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..12).collect::<Vec<u32>>(), "no number is given twice");
    let promoters: Vec<_> = (0..50)
        .map(|number| {
            let registry = registry.clone();
            let version = 2 + number % 10;
            std::thread::spawn(move || {
                registry.approve(version, Some(1), "somebody", "").map(|live| live.version)
            })
        })
        .collect();
    let won: Vec<u32> = promoters.into_iter().filter_map(|promoter| promoter.join().unwrap().ok()).collect();
    assert_eq!(won.len(), 1);
    let live = registry.live().unwrap().unwrap();
    assert_eq!((live.version, live.before), (won[0], Some(1)));
    let record = fs::read_to_string(folder.path().join("models/record.jsonl")).unwrap();
    assert_eq!(record.lines().count(), 2, "the start and the one that won");
    let error = registry.approve(2, Some(1), "late", "").unwrap_err().to_string();
    assert!(error.contains(&format!("version {} is live by now, not version 1", live.version)), "{error}");
    // Back to what was before: nothing but the folder is needed.
    registry.approve(1, Some(live.version), "somebody", "back").unwrap();
    assert_eq!(opened(folder.path()).live().unwrap().unwrap().version, 1);
}

#[test]
fn what_is_half_written_or_changed_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let registry = opened(folder.path());
    let bundle = Bundle::pretrained().unwrap();
    let version = registry.add(&bundle, &card("x")).unwrap();
    let of = |name: &str| folder.path().join(format!("models/{version:06}/{name}"));
    // A copy without its manifest, as a killed writer leaves it: no version, and its number is not given again.
    fs::create_dir(folder.path().join("models/000003")).unwrap();
    fs::copy(of("bundle.foretap"), folder.path().join("models/000003/bundle.foretap")).unwrap();
    assert_eq!(registry.versions().unwrap(), [1, 2]);
    assert_eq!(registry.add(&bundle, &card("y")).unwrap(), 4);
    let error = registry.approve(3, Some(1), "a", "").unwrap_err().to_string();
    assert!(error.contains("foretap models"), "{error}");
    // One bit less.
    let mut bytes = fs::read(of("bundle.foretap")).unwrap();
    bytes[1_000] ^= 1;
    fs::write(of("bundle.foretap"), bytes).unwrap();
    let error = registry.approve(version, Some(1), "a", "").unwrap_err().to_string();
    assert!(
        error.contains("not the bytes that were registered") && error.contains("bundle.foretap"),
        "{error}"
    );
    assert_eq!(registry.live().unwrap().unwrap().version, 1);
    fs::write(of("card.json"), "{}").unwrap();
    assert!(registry.card(version).unwrap_err().to_string().contains("card.json"));
    fs::write(folder.path().join("models/live.json"), "{").unwrap();
    let error = Registry::open(&folder.path().join("models")).unwrap_err().to_string();
    assert!(error.contains("live.json") && error.contains("line 1"), "{error}");
}
