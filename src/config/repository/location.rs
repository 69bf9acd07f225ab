//! Which of a repository's files is its configuration. Both endings of YAML are read; a name that only looks
//! like one of the two is reported, so that no rule is ignored in silence.

use super::{REPOSITORY_FILE, RepositoryFile, RepositoryFileError};

/// The other name of the file.
pub const REPOSITORY_FILE_YAML: &str = ".github/agent-fix.yaml";
/// The directory of both.
const DIRECTORY: &str = ".github";
/// Most similar names that are reported.
const SIMILAR_MAX: usize = 5;
/// The file's name without signs and ending.
const STEM: &str = "agentfix";
/// Edits between that and a name that probably means it.
const EDITS_MAX: usize = 2;

/// The repository's configuration as it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositoryFiles {
    /// The files that are there, with their texts.
    pub found: Vec<(&'static str, String)>,
    /// Paths that look like the file, and are not read.
    pub similar: Vec<String>,
}

impl RepositoryFiles {
    /// Looks for the file. `names` returns the names in a directory (`""` is the root; names of directories
    /// end in `/`; nothing if there is no such directory), `content` the bytes of a regular file, of which
    /// more than [`REPOSITORY_FILE_BYTES_MAX`](super::REPOSITORY_FILE_BYTES_MAX) may be cut off.
    ///
    /// # Errors
    /// One of the two fails.
    pub fn read<E>(
        mut names: impl FnMut(&str) -> Result<Vec<String>, E>,
        mut content: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, E> {
        let mut files = Self::default();
        for path in [REPOSITORY_FILE, REPOSITORY_FILE_YAML] {
            if let Some(bytes) = content(path)? {
                files.found.push((path, String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        for directory in [DIRECTORY, ""] {
            for name in names(directory)? {
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                let is_read = files.found.iter().any(|(found, _)| *found == path);
                if !is_read && is_similar(&path) && files.similar.len() < SIMILAR_MAX {
                    files.similar.push(path);
                }
            }
        }
        Ok(files)
    }

    /// The configuration; `None`: there is no file.
    ///
    /// # Errors
    /// There are two, or it cannot be used.
    pub fn parse(&self) -> Result<Option<RepositoryFile>, RepositoryFileError> {
        match self.found.as_slice() {
            [] => Ok(None),
            [(path, text)] => RepositoryFile::parse_at(path, text).map(Some),
            [_, _, ..] => Err(RepositoryFileError::Ambiguous),
        }
    }

    /// A sentence for each path that looks like the file, and is not read.
    pub fn warnings(&self) -> Vec<String> {
        let warning = |path: &String| {
            format!(
                "`{path}` looks like the configuration of Mendwright, and is not read: that must be a regular file \
                 named `{REPOSITORY_FILE}` or `{REPOSITORY_FILE_YAML}`"
            )
        };
        self.similar.iter().map(warning).collect()
    }
}

/// Whether a file probably means to be the configuration: in the same words, with other signs, in another
/// case, misspelled, with another ending, or in the root.
fn is_similar(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).trim_start_matches('.').to_lowercase();
    let Some((stem, endings)) = name.split_once('.') else { return false };
    let stem: String = stem.chars().filter(char::is_ascii_alphanumeric).collect();
    let is_configuration = endings.split('.').any(|end| ["yml", "yaml", "json", "toml"].contains(&end));
    is_configuration && strsim::damerau_levenshtein(&stem, STEM) <= EDITS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, &str)]) -> RepositoryFiles {
        let names = |directory: &str| {
            let below = all.iter().filter_map(|(path, _)| {
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
                (parent == directory).then(|| name.to_owned())
            });
            Ok::<_, ()>(below.collect())
        };
        let content = |path: &str| {
            Ok(all.iter().find(|(known, _)| *known == path).map(|(_, text)| text.as_bytes().to_vec()))
        };
        RepositoryFiles::read(names, content).unwrap()
    }

    #[test]
    fn file_is_read_with_either_ending_and_never_with_both() {
        let yml = (".github/agent-fix.yml", "test: a");
        let yaml = (".github/agent-fix.yaml", "test: b");
        let test = |all: &[(&str, &str)]| files(all).parse().unwrap().and_then(|file| file.test_command);
        assert_eq!(test(&[]), None);
        assert_eq!(test(&[yml]).as_deref(), Some("a"));
        assert_eq!(test(&[yaml]).as_deref(), Some("b"));
        assert_eq!(files(&[yaml]).parse().unwrap().unwrap().path(), ".github/agent-fix.yaml");
        assert!(files(&[yml]).warnings().is_empty() && files(&[yaml]).warnings().is_empty());
        insta::assert_snapshot!(files(&[yml, yaml]).parse().unwrap_err(), @"the repository has both .github/agent-fix.yml and .github/agent-fix.yaml, which may contradict each other; delete one of them");
        let broken = files(&[(".github/agent-fix.yaml", "tests: x")]).parse().unwrap_err();
        insta::assert_snapshot!(broken, @".github/agent-fix.yaml line 1 column 1: unknown key `tests`; did you mean `test`?");
    }

    #[test]
    fn name_that_only_looks_like_the_file_is_reported() {
        let similar = [
            ".github/Agent-Fix.yml",
            ".github/agent_fix.yml",
            ".github/agentfix.yaml",
            ".github/agent-fx.yml",
            ".github/agent-fix.yml.txt",
        ];
        let others =
            [".github/agents.yml", ".github/dependabot.yml", "fixes.yml", "agent-fix.md", "agent.json"];
        let all: Vec<(&str, &str)> = similar.iter().chain(&others).map(|path| (*path, "")).collect();
        assert_eq!(files(&all).similar, similar);
        assert_eq!(files(&[("agent-fix.yml", ""), (".agent-fix.json", "")]).similar.len(), 2);
        insta::assert_snapshot!(files(&[("agent-fix.yml", "")]).warnings().join("\n"), @"`agent-fix.yml` looks like the configuration of Mendwright, and is not read: that must be a regular file named `.github/agent-fix.yml` or `.github/agent-fix.yaml`");
    }

    #[test]
    fn name_that_is_no_regular_file_is_reported() {
        let names = |directory: &str| {
            Ok::<_, ()>(if directory == ".github" { vec!["agent-fix.yml".to_owned()] } else { Vec::new() })
        };
        let files = RepositoryFiles::read(names, |_| Ok(None)).unwrap();
        assert_eq!((files.found.len(), files.similar), (0, vec![".github/agent-fix.yml".to_owned()]));
    }
}
