//! Errors that say only that this machine is short of something for a moment: descriptors, memory, processes,
//! buffers. They come from git, the sandbox, the store, HTTP and pipes, mostly as text, and are worth another try.

/// What the C libraries and Rust write for EMFILE, ENFILE, ENOMEM, EAGAIN and ENOBUFS; glibc first, musl second if it
/// has other words.
const SHORTAGES: [&str; 8] = [
    "too many open files",
    "no file descriptors available",
    "cannot allocate memory",
    "out of memory",
    "resource temporarily unavailable",
    "no buffer space available",
    // The names themselves, as some programs write them.
    "emfile",
    "enfile",
];

/// Whether an error's text says that the machine is short of something for a moment.
pub fn is_shortage(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    SHORTAGES.iter().any(|shortage| error.contains(shortage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shortage_is_recognized_in_the_words_of_the_system() {
        // Linux: EMFILE, ENFILE, ENOMEM, EAGAIN, ENOBUFS.
        for number in [24, 23, 12, 11, 105] {
            let error = std::io::Error::from_raw_os_error(number);
            let text = format!("could not open '/data/mirrors/7.git/config': {error}");
            assert!(is_shortage(&text), "{text}");
        }
        assert!(is_shortage("failed to open '/x': No file descriptors available"));
    }

    #[test]
    fn lasting_error_is_no_shortage() {
        // Linux: EACCES, ENOENT, ENOSPC.
        for number in [13, 2, 28] {
            let error = std::io::Error::from_raw_os_error(number).to_string();
            assert!(!is_shortage(&error), "{error}");
        }
        assert!(!is_shortage("the branch main does not exist"));
    }
}
