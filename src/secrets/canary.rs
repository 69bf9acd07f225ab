//! Canaries: useless values in a place that only a sandbox escape can read. Text that contains one shows
//! that this process' data directory was read, so it is never published.
//!
//! There are none inside sandboxes: nothing there is secret, and a test may print its whole environment.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::known::{SecretKind, register};

/// Beside the store, with a name that attracts a search for credentials.
const FILE: &str = "credentials.json";
/// A longer file is not ours.
const BYTES_MAX: u64 = 4096;
/// The value's prefix: it looks like a token's, but nobody issues such tokens.
const PREFIX: &str = "mwt_";

/// A canary that was planted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The file that contains it.
    pub file: PathBuf,
}

/// Plants a canary in the data directory, or registers the existing one, which a job of an earlier process
/// may have read. From now on nothing that contains it is published.
///
/// # Errors
/// The file cannot be read or written.
pub fn plant(data_dir: &Path) -> std::io::Result<Canary> {
    let file = data_dir.join(FILE);
    let value = match existing(&file)? {
        Some(value) => value,
        None => {
            let value = format!("{PREFIX}{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
            let text = format!("{{\"token\": \"{value}\"}}\n");
            let _ = std::fs::remove_file(&file);
            let mut created =
                std::fs::File::options().write(true).create_new(true).mode(0o600).open(&file)?;
            created.write_all(text.as_bytes())?;
            value
        }
    };
    register(SecretKind::Canary, &SecretString::from(value));
    Ok(Canary { file })
}

fn existing(file: &Path) -> std::io::Result<Option<String>> {
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.is_file() && metadata.len() <= BYTES_MAX => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let text = std::fs::read_to_string(file)?;
    let value = text.split('"').find(|part| part.starts_with(PREFIX) && part.len() > PREFIX.len() + 32);
    Ok(value.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::gate::scan_text;
    use super::*;

    #[test]
    fn canary_is_planted_once_and_found_in_texts() {
        let directory = tempfile::tempdir().unwrap();
        let canary = plant(directory.path()).unwrap();
        let text = std::fs::read_to_string(&canary.file).unwrap();
        assert_eq!(std::fs::metadata(&canary.file).unwrap().permissions().mode() & 0o777, 0o600);
        let found = scan_text("a comment", &format!("look: {text}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].to_string().starts_with("a canary"), "{}", found[0]);
        plant(directory.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&canary.file).unwrap(), text, "the same after a restart");

        std::fs::write(&canary.file, "cut o").unwrap();
        plant(directory.path()).unwrap();
        assert!(std::fs::read_to_string(&canary.file).unwrap().contains(PREFIX));
    }
}
