//! Programs that start runners which their command does not name: `make` and tox.

use super::shell_words::{ShellLine, base_name, is_assignment};

/// A program that starts runners which its command does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrapper {
    Make,
    Tox,
}

/// The wrapper of a command that names no runner.
pub(super) fn wrapper(command: &str) -> Option<Wrapper> {
    let line = ShellLine::read(command)?;
    line.commands.iter().find_map(|words| {
        let mut words = words.iter().skip_while(|word| is_assignment(word) || *word == "env");
        let first = base_name(words.next()?);
        let module = words.next().filter(|word| *word == "-m").and(words.next()).map(String::as_str);
        match (first, module) {
            ("make" | "gmake", _) => Some(Wrapper::Make),
            ("tox", _) => Some(Wrapper::Tox),
            (python, Some("tox")) if python.starts_with("python") => Some(Wrapper::Tox),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapper_is_recognised_by_its_name() {
        for (command, expected) in [
            ("make check", Some(Wrapper::Make)),
            ("V=1 make -C sub -j2 test", Some(Wrapper::Make)),
            ("env CI=1 tox -e py", Some(Wrapper::Tox)),
            ("python3 -m tox", Some(Wrapper::Tox)),
            ("cmake --build .", None),
            ("sh make", None),
            ("python3 -m pytest make", None),
        ] {
            assert_eq!(wrapper(command), expected, "{command}");
        }
    }
}
