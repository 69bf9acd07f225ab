//! Telling a file system without room from everything else that may go wrong, for the host's ears: it
//! would be as full when tried again.

use mendwright_protocol::NO_ROOM;

/// Marks an error in words as [`NO_ROOM`] where the system's own, at its end, says so.
pub fn told_if_full(why: String) -> String {
    let is_full =
        [libc::ENOSPC, libc::EDQUOT].iter().any(|number| why.ends_with(&format!("(os error {number})")));
    if is_full { format!("{NO_ROOM}{why}") } else { why }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn only_the_systems_own_word_counts() {
        let error = |number| io::Error::from_raw_os_error(number);
        let full = format!("'a': {}", error(libc::ENOSPC));
        assert_eq!(told_if_full(full.clone()), format!("{NO_ROOM}{full}"));
        for other in [format!("'a': {}", error(libc::EACCES)), "'a (os error 28)': it is odd".to_owned()] {
            assert_eq!(told_if_full(other.clone()), other);
        }
    }
}
