//! A failure with its kind: a full file system is reported apart from everything else, because a retry would
//! fail in the same way.

use std::fmt::Display;
use std::io;

use mendwright_protocol::Response;

use crate::tree::TreeError;

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed, and why.
    pub message: String,
    /// Whether a file system is full.
    pub is_disk_full: bool,
}

impl Failure {
    /// The failure of an operation on `path`.
    pub fn at(path: impl Display, error: &io::Error) -> Self {
        let is_disk_full =
            error.raw_os_error().is_some_and(|number| [libc::ENOSPC, libc::EDQUOT].contains(&number));
        Self { message: format!("{path}: {error}"), is_disk_full }
    }

    /// The same failure, with what was attempted before its message.
    pub fn during(self, attempt: &str) -> Self {
        Self { message: format!("{attempt}: {}", self.message), ..self }
    }

    /// The response to the host.
    pub fn into_response<T>(self) -> Response<T> {
        if self.is_disk_full { Response::DiskFull(self.message) } else { Response::Refused(self.message) }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { message, is_disk_full: false }
    }
}

impl From<TreeError> for Failure {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Io(path, error) => Self::at(format_args!("'{path}'"), &error),
            other => Self::from(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_error_number_decides_whether_the_disk_is_full() {
        let error = |number| io::Error::from_raw_os_error(number);
        let full = Failure::at("'a'", &error(libc::ENOSPC)).during("copying");
        assert_eq!(full.message, format!("copying: 'a': {}", error(libc::ENOSPC)));
        assert!(full.is_disk_full && Failure::at("'a'", &error(libc::EDQUOT)).is_disk_full);
        assert!(!Failure::at("'a'", &error(libc::EACCES)).is_disk_full);
        assert!(!Failure::from("'a (os error 28)'".to_owned()).is_disk_full);
        let tree = Failure::from(TreeError::Io("a".to_owned(), error(libc::ENOSPC)));
        assert!(tree.is_disk_full, "{tree:?}");
    }
}
