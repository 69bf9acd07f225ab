//! Secrets as the operator gives them: in a file of their own, in the configuration, or in the
//! environment. A file with a secret that everybody on the machine can read is refused.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretString;

use super::given::{ConfigError, Found, Given};

const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;
const READABLE_BY_EVERYBODY: u32 = 0o004;

/// The secret under `key`, or in the file that `file_key` names. The environment goes before the
/// file; two that stand side by side are refused.
pub(super) fn secret(
    given: &Given,
    key: &'static str,
    file_key: &'static str,
) -> Result<Option<(SecretString, Found)>, ConfigError> {
    let found = match (given.get(key), given.get(file_key)) {
        (None, None) => return Ok(None),
        (Some(inline), None) => inline,
        (None, Some(file)) => file,
        (Some(inline), Some(file)) if inline.from_environment != file.from_environment => {
            if inline.from_environment { inline } else { file }
        }
        (Some(inline), Some(file)) => {
            let remedy = format!("remove one of them ({} has the other)", file.origin);
            return Err(inline.wrong(format!("stands beside {file_key}"), remedy));
        }
    };
    let text = if found.key == file_key {
        read_secret_file(found, &given.resolve(found.text()?))?
    } else {
        found.text()?.to_owned()
    };
    let trimmed = text.trim_end_matches(['\n', '\r']);
    if trimmed.trim().is_empty() {
        return Err(found.wrong("is empty", format!("give the secret, or remove {}", found.key)));
    }
    Ok(Some((trimmed.into(), found.clone())))
}

fn read_secret_file(found: &Found, path: &Path) -> Result<String, ConfigError> {
    refuse_if_public(found, path)?;
    let wrong = |why: String| found.wrong(format!("cannot be read ({})", path.display()), why);
    let bytes = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if bytes > SECRET_FILE_BYTES_MAX {
        return Err(wrong(format!("{bytes} bytes are too many for a secret")));
    }
    std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))
}

/// Refuses a file that holds a secret and that everybody can read.
pub(super) fn refuse_if_public(found: &Found, path: &Path) -> Result<(), ConfigError> {
    let shown = path.display();
    let metadata = std::fs::metadata(path)
        .map_err(|error| found.wrong(format!("cannot be read ({shown})"), error.to_string()))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & READABLE_BY_EVERYBODY == 0 {
        return Ok(());
    }
    let problem = format!("is a secret in a file that everybody can read (mode {mode:o})");
    Err(found.wrong(problem, format!("run: chmod 600 {shown}")))
}
