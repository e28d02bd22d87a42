//! Files on S3, or on a server that speaks as it does: the lake's, and those that events come from.

#[cfg(feature = "aws")]
mod client;

use foretap::{Error, ErrorKind, Result};

#[cfg(feature = "aws")]
pub use client::{check_bucket, failed, operator, purge_versions};

/// `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Location {
    /// The bucket's name.
    pub bucket: String,
    /// What keys begin with, without a slash at either end; empty: the whole bucket.
    pub prefix: String,
}

impl S3Location {
    /// The location that the setting `field` names; `None` where it is a path of this machine.
    ///
    /// # Errors
    /// It names no bucket, or something else that is no path.
    pub fn parse(field: &str, text: &str) -> Result<Option<Self>> {
        let wrong = |message: String| {
            Err(Error::new(ErrorKind::Config, message)
                .field(field)
                .next_step("write it as s3://bucket/prefix"))
        };
        let Some(rest) = text.strip_prefix("s3://") else {
            return match text.contains("://") {
                true => wrong(format!("`{}` is not on S3", text.escape_debug())),
                false => Ok(None),
            };
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        let of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(of_name) {
            return wrong(format!("`{}` names no bucket", text.escape_debug()));
        }
        if prefix.split('/').any(|part| part == ".." || part == ".") || prefix.contains("//") {
            return wrong(format!("`{}` is no prefix", prefix.escape_debug()));
        }
        Ok(Some(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() }))
    }

    /// A key below the prefix; with an empty name, what all its keys begin with.
    pub fn key(&self, name: &str) -> String {
        match self.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }
}

impl std::fmt::Display for S3Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// What a build without Amazon's services says when a setting names a bucket.
#[cfg(not(feature = "aws"))]
pub fn no_s3(field: &str) -> Error {
    Error::new(ErrorKind::Config, "this build of foretap has no S3")
        .field(field)
        .next_step("build it with `--features aws`")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_bucket_and_a_prefix() {
        for (text, bucket, prefix, key) in [
            ("s3://lake-1", "lake-1", "", "a"),
            ("s3://lake-1/", "lake-1", "", "a"),
            ("s3://a.b.c/events/2026/", "a.b.c", "events/2026", "events/2026/a"),
        ] {
            let found = S3Location::parse("lake.location", text).unwrap().unwrap();
            assert_eq!((found.bucket.as_str(), found.prefix.as_str()), (bucket, prefix));
            assert_eq!(found.key("a"), key);
        }
        for text in
            ["s3://", "s3:///x", "s3://Lake/x", "s3://a b/x", "s3://lake/../x", "s3://lake/a//b", "gs://lake"]
        {
            let error = S3Location::parse("lake.location", text).unwrap_err().to_string();
            assert!(error.contains("lake.location"), "{text}: {error}");
        }
        assert_eq!(S3Location::parse("files.path", "/data/files").unwrap(), None);
    }
}
