//! Canaries: values of no use that stand where only a break-out finds them. Whoever has one has
//! read this process' data directory; so nothing that holds one leaves.
//!
//! There are none inside sandboxes: what is in a sandbox is no secret, and a test may well print
//! its whole environment.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::known::{SecretKind, register};

/// Beside the store, by a name that somebody who looks for credentials opens.
const FILE: &str = "credentials.json";
/// Longer files are not ours.
const BYTES_MAX: u64 = 4096;
/// What stands before the value: a token's prefix that nobody gives out.
const PREFIX: &str = "mwt_";

/// A canary that was planted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The file that it stands in.
    pub file: PathBuf,
}

/// Plants a canary in the data directory, or finds the one that stands there: a job that a killed
/// process began may have met it. From now on nothing that holds it leaves.
///
/// # Errors
/// The file cannot be read or written.
pub fn plant(data_dir: &Path) -> std::io::Result<Canary> {
    let file = data_dir.join(FILE);
    let value = match found(&file)? {
        Some(value) => value,
        None => {
            let value = format!("{PREFIX}{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
            let text = format!("{{\"token\": \"{value}\"}}\n");
            let _ = std::fs::remove_file(&file);
            let mut made = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&file)?;
            made.write_all(text.as_bytes())?;
            value
        }
    };
    register(SecretKind::Canary, &SecretString::from(value));
    Ok(Canary { file })
}

fn found(file: &Path) -> std::io::Result<Option<String>> {
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
    fn a_canary_is_planted_once_and_never_leaves() {
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
