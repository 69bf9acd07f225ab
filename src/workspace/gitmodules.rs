//! Reads `.gitmodules`. libgit2's own reader is not used: it follows `include.path` to any file of this machine.
//! Source of the syntax: git-config(1), "Syntax", and gitmodules(5).

/// Longest file that is read.
pub(super) const GITMODULES_BYTES_MAX: u64 = 1 << 20;
/// Entries that are read; many more than anybody has.
const ENTRIES_MAX: usize = 10_000;

/// What `.gitmodules` says of a submodule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GitmodulesEntry {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) url: String,
}

/// The submodules that have a path and a URL. Lines that cannot be read are passed over.
pub(super) fn parse_gitmodules(text: &str) -> Vec<GitmodulesEntry> {
    let mut entries: Vec<GitmodulesEntry> = Vec::new();
    let mut is_in_submodule = false;
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with('[') {
            let name = submodule_name(line);
            is_in_submodule = name.is_some() && entries.len() < ENTRIES_MAX;
            if let Some(name) = name.filter(|_| is_in_submodule) {
                entries.push(GitmodulesEntry { name, ..GitmodulesEntry::default() });
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| is_in_submodule) else { continue };
        let Some(entry) = entries.last_mut() else { continue };
        match key.trim().to_ascii_lowercase().as_str() {
            "path" => entry.path = value_of(value).trim_end_matches('/').to_owned(),
            "url" => entry.url = value_of(value),
            _ => {}
        }
    }
    entries.retain(|entry| !entry.path.is_empty() && !entry.url.is_empty());
    entries
}

/// The name in `[submodule "name"]`.
fn submodule_name(line: &str) -> Option<String> {
    let inner = line.strip_prefix('[')?.trim_start();
    let (section, rest) = inner.split_at_checked("submodule".len())?;
    let quoted = section.eq_ignore_ascii_case("submodule").then(|| rest.trim_start().strip_prefix('"'))??;
    let mut name = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => name.push(characters.next()?),
            other => name.push(other),
        }
    }
    characters.as_str().trim_start().starts_with(']').then_some(name)
}

/// A value without quotes, escapes and a comment at its end.
fn value_of(text: &str) -> String {
    let (mut value, mut is_quoted, mut kept_bytes) = (String::new(), false, 0);
    let mut characters = text.trim_start().chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => is_quoted = !is_quoted,
            '#' | ';' if !is_quoted => break,
            '\\' => match characters.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('b') => value.push('\u{8}'),
                Some(other) => value.push(other),
                None => break,
            },
            other => value.push(other),
        }
        if is_quoted || !character.is_whitespace() {
            kept_bytes = value.len();
        }
    }
    value.truncate(kept_bytes);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_their_name_path_and_url() {
        let text = "# a comment\n[submodule \"a b\"]\n\tpath = libs/a/\n\turl = ../a.git ; moved\n\
                    [core]\n\tpath = x\n\turl = y\n[include]\n\tpath = /etc/passwd\n\
                    [Submodule \"q\\\"\"]\nURL=\"https://forge.example/x#y\"\npath = \"with # sign\"\n\
                    [submodule \"no-url\"]\n\tpath = c\n[submodule.old]\n\tpath = d\n\turl = e\n\
                    [submodule \"open\n\tpath = f\n\turl = g\n";
        let found: Vec<String> = parse_gitmodules(text)
            .iter()
            .map(|entry| format!("{} | {} | {}", entry.name, entry.path, entry.url))
            .collect();
        assert_eq!(found, ["a b | libs/a | ../a.git", "q\" | with # sign | https://forge.example/x#y"]);
        assert_eq!(parse_gitmodules("path = a\nurl = b\n"), []);
    }
}
