//! Secrets of the operator: in a file of their own, in the configuration file, or in the environment.
//! A file that holds a secret and that everybody on the machine can read is refused.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretString;

use super::error::ConfigError;
use super::raw::RawConfig;
use super::setting::Setting;

const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;
const READABLE_BY_EVERYBODY: u32 = 0o004;

/// The secret under `key`, or in the file that `file_key` names, with the setting that it comes from.
/// The environment takes precedence over the file; two in the same place are refused.
pub(super) fn secret(
    raw: &RawConfig,
    key: &'static str,
    file_key: &'static str,
) -> Result<Option<(SecretString, Setting)>, ConfigError> {
    let setting = match (raw.get(key), raw.get(file_key)) {
        (None, None) => return Ok(None),
        (Some(inline), None) => inline,
        (None, Some(file)) => file,
        (Some(inline), Some(file)) if inline.from_environment != file.from_environment => {
            if inline.from_environment { inline } else { file }
        }
        (Some(inline), Some(file)) => {
            let remedy = format!("remove one of them ({} has the other)", file.origin);
            return Err(inline.invalid(format!("is set beside {file_key}"), remedy));
        }
    };
    let text = if setting.key.name == file_key {
        read_secret_file(setting, &raw.resolve(setting.text()?))?
    } else {
        setting.text()?.to_owned()
    };
    let trimmed = text.trim_end_matches(['\n', '\r']);
    if trimmed.trim().is_empty() {
        return Err(setting.invalid("is empty", format!("give the secret, or remove {}", setting.key.name)));
    }
    Ok(Some((trimmed.into(), setting.clone())))
}

fn read_secret_file(setting: &Setting, path: &Path) -> Result<String, ConfigError> {
    refuse_if_public(setting, path)?;
    let invalid = |why: String| setting.invalid(format!("cannot be read ({})", path.display()), why);
    let bytes = std::fs::metadata(path).map_err(|error| invalid(error.to_string()))?.len();
    if bytes > SECRET_FILE_BYTES_MAX {
        return Err(invalid(format!("{bytes} bytes are too many for a secret")));
    }
    std::fs::read_to_string(path).map_err(|error| invalid(error.to_string()))
}

/// Refuses a file that holds a secret and that everybody can read.
pub(super) fn refuse_if_public(setting: &Setting, path: &Path) -> Result<(), ConfigError> {
    let shown = path.display();
    let metadata = std::fs::metadata(path)
        .map_err(|error| setting.invalid(format!("cannot be read ({shown})"), error.to_string()))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & READABLE_BY_EVERYBODY == 0 {
        return Ok(());
    }
    let problem = format!("is a secret in a file that everybody can read (mode {mode:o})");
    Err(setting.invalid(problem, format!("run: chmod 600 {shown}")))
}
