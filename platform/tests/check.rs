//! `foretap check` makes nothing, and finds what `foretap up` would refuse. What is Amazon's is skipped without
//! `FORETAP_TEST_AWS=1`, except in CI.

#![allow(clippy::unwrap_used)]

#[cfg(feature = "aws")]
#[path = "common/s3.rs"]
mod s3;

use std::path::Path;
use std::process::Command;

/// The lines of `foretap check`, and whether it found nothing wrong.
fn check(folder: &Path, settings: &[(&str, &str)]) -> (Vec<String>, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
    command.arg("check").env("FORETAP_DATA_FOLDER", folder).envs(settings.iter().copied());
    let output = command.env("FORETAP_HTTP_LISTEN", "127.0.0.1:0").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text.lines().map(str::to_owned).collect(), output.status.success())
}

/// The line about `what`.
fn line(lines: &[String], what: &str) -> String {
    let mark = format!("  {what}: ");
    lines.iter().find(|line| line.contains(&mark)).cloned().unwrap_or_else(|| lines.join("\n"))
}

#[test]
fn before_the_first_start_everything_is_fine_and_nothing_is_made() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("a/foretap-data");
    let (lines, is_fine) = check(&folder, &[]);
    assert!(is_fine, "{lines:?}");
    for what in ["folder", "models", "lake"] {
        assert!(line(&lines, what).contains("at the first start"), "{lines:?}");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "nothing is made");
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_whose_name_is_not_text_is_found() {
    use std::os::unix::ffi::OsStrExt as _;
    let place = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"events-\xff.json");
    std::fs::write(place.path().join(name), b"{}").unwrap();
    let files = place.path().display().to_string();
    let data = tempfile::tempdir().unwrap();
    let (lines, is_fine) = check(data.path(), &[("FORETAP_FILES_PATH", &files)]);
    let found = line(&lines, "files");
    assert!(!is_fine && found.starts_with("WRONG") && found.contains("rename it"), "{found}");
}

#[cfg(feature = "aws")]
mod amazon {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    };

    use super::s3::{self, Peer, REGION};
    use super::*;

    /// A check with a line, what of it is expected, and whether it is fine.
    struct Case<'a> {
        settings: &'a [(&'a str, &'a str)],
        what: &'a str,
        expected: &'a str,
        is_fine: bool,
    }

    fn case<'a>(
        settings: &'a [(&'a str, &'a str)],
        what: &'a str,
        expected: &'a str,
        is_fine: bool,
    ) -> Case<'a> {
        Case { settings, what, expected, is_fine }
    }

    fn assert_cases(peer: &Peer, cases: &[Case<'_>]) {
        let endpoint = peer.endpoint();
        for case in cases {
            let folder = tempfile::tempdir().unwrap();
            let mut settings =
                vec![("FORETAP_AWS_ENDPOINT", endpoint.as_str()), ("FORETAP_AWS_REGION", REGION)];
            settings.extend(case.settings);
            let (lines, is_fine) = check(folder.path(), &settings);
            let found = line(&lines, case.what);
            let name = format!("{} {:?}", peer.name, case.settings);
            assert!(found.contains(case.expected), "{name}: {found}");
            assert_eq!(found.starts_with("fine"), case.is_fine, "{name}: {found}");
            assert_eq!(is_fine, case.is_fine, "{name}: {lines:?}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{name}: nothing is made");
        }
    }

    #[test]
    fn a_bucket_and_the_lakes_in_it() {
        if !s3::is_wanted() {
            return;
        }
        for name in ["moto", "ministack"] {
            let peer = Peer::start(name);
            peer.make_bucket("versioned", true);
            peer.make_bucket("plain", false);
            peer.put("plain/lakes/one/foretap-lake", b"another");
            let at = |location| [("FORETAP_LAKE_LOCATION", location)];
            assert_cases(
                &peer,
                &[
                    case(&at("s3://versioned/x"), "bucket", "object versions are on", true),
                    case(&at("s3://plain/x"), "bucket", "object versions are off", true),
                    case(&at("s3://nowhere/x"), "bucket", "look whether the bucket is there", false),
                    case(&at("s3://plain/lakes/two"), "lake", "at the first start", true),
                    case(&at("s3://plain/lakes/one"), "lake", "the files of another lake", false),
                    case(&at("s3://plain/lakes/one/in/it"), "lake", "not apart", false),
                    case(&at("s3://plain/lakes"), "lake", "not apart", false),
                ],
            );
            for bucket in ["versioned", "plain"] {
                let left = peer.versions(bucket).into_iter().filter(|(key, _)| key.contains("check"));
                assert_eq!(left.count(), 0, "{name}: the probe is gone");
            }
        }
    }

    /// A table with these keys, the second of this type.
    async fn make_table(sdk: &aws_config::SdkConfig, table: &str, kind: ScalarAttributeType) {
        let keys = [("pk", KeyType::Hash, ScalarAttributeType::S), ("sk", KeyType::Range, kind)];
        let client = aws_sdk_dynamodb::Client::new(sdk);
        let mut request = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
        for (name, key, kind) in keys {
            let element = KeySchemaElement::builder().attribute_name(name).key_type(key).build().unwrap();
            let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(kind);
            request = request.key_schema(element).attribute_definitions(attribute.build().unwrap());
        }
        request.send().await.unwrap();
    }

    #[test]
    fn a_table_and_a_key() {
        if !s3::is_wanted() {
            return;
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for name in ["moto", "ministack"] {
            let peer = Peer::start(name);
            runtime.block_on(async {
                let sdk = peer.sdk().await;
                make_table(&sdk, "right", ScalarAttributeType::S).await;
                make_table(&sdk, "wrong", ScalarAttributeType::N).await;
                let kms = aws_sdk_kms::Client::new(&sdk);
                let id = kms.create_key().send().await.unwrap().key_metadata.unwrap().key_id;
                kms.create_alias().alias_name("alias/right").target_key_id(id).send().await.unwrap();
            });
            let dynamodb = ("FORETAP_STORE_KIND", "dynamodb");
            let table = |table| [dynamodb, ("FORETAP_STORE_TABLE", table)];
            let made = [dynamodb, ("FORETAP_STORE_TABLE", "new"), ("FORETAP_STORE_CREATE_TABLE", "true")];
            let key = |key| [("FORETAP_STORE_KMS_KEY", key)];
            assert_cases(
                &peer,
                &[
                    case(&table("right"), "store", "nobody yet", true),
                    case(&table("wrong"), "store", "both strings", false),
                    case(&table("nowhere"), "store", "there is no table `nowhere`", false),
                    case(&made, "store", "at the first start", true),
                    // Still not there.
                    case(&table("new"), "store", "there is no table `new`", false),
                    case(&key("alias/right"), "master key", "at the first start", true),
                    case(&key("alias/wrong"), "master key", "NotFoundException", false),
                ],
            );
        }
    }

    #[test]
    fn a_stream_and_its_leases() {
        if !s3::is_wanted() {
            return;
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for name in ["moto", "ministack"] {
            let peer = Peer::start(name);
            runtime.block_on(async {
                let sdk = peer.sdk().await;
                make_table(&sdk, "right", ScalarAttributeType::S).await;
                make_table(&sdk, "wrong", ScalarAttributeType::N).await;
                let kinesis = aws_sdk_kinesis::Client::new(&sdk);
                kinesis.create_stream().stream_name("events").shard_count(2).send().await.unwrap();
            });
            let of =
                |stream, table| [("FORETAP_KINESIS_STREAM", stream), ("FORETAP_KINESIS_LEASE_TABLE", table)];
            let made = [
                ("FORETAP_KINESIS_STREAM", "events"),
                ("FORETAP_KINESIS_LEASE_TABLE", "new"),
                ("FORETAP_KINESIS_CREATE_LEASE_TABLE", "true"),
            ];
            let elsewhere = [("FORETAP_KINESIS_STREAM", "events"), ("FORETAP_AWS_REGION", "eu-central-1")];
            assert_cases(
                &peer,
                &[
                    case(
                        &of("events", "right"),
                        "kinesis",
                        "of 2 shards, which keeps records 24 hours",
                        true,
                    ),
                    case(&of("nowhere", "right"), "kinesis", "there is no stream `nowhere`", false),
                    case(&elsewhere, "kinesis", "`region` of [aws]", false),
                    case(&of("events", "wrong"), "kinesis", "both strings", false),
                    case(&of("events", "nowhere"), "kinesis", "`create_lease_table = true`", false),
                    case(&made, "kinesis", "`new` is made at the first start", true),
                    // Still not there.
                    case(&of("events", "new"), "kinesis", "there is no table `new`", false),
                ],
            );
        }
    }
}
