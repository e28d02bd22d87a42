//! Where the logs of real phones are.

use std::env;
use std::path::{Path, PathBuf};

/// The folder `data/phones` that lies beside the repository and is no part of it; nothing where it is not there. Where all is
/// to be tested (`$CI`), that must be said: `$FORETAP_NO_PHONES` is set then.
pub fn folder() -> Option<PathBuf> {
    let folder = Path::new("../shared/data/phones");
    if folder.is_dir() {
        return Some(folder.to_path_buf());
    }
    assert!(
        env::var_os("CI").is_none() || env::var_os("FORETAP_NO_PHONES").is_some(),
        "$CI wants every test: put the phones into {}, or say in $FORETAP_NO_PHONES that there are none",
        folder.display()
    );
    println!("skipped: there are no phones in {}", folder.display());
    None
}
