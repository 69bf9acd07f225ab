//! The input of detection: names near a repository's root, and the texts of a few small files. The caller
//! reads them, within bounds. Decides nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::python_tests::is_test_path;

/// Larger files are not read.
pub const DETECTION_BYTES_MAX: u64 = 256 * 1024;
/// The most names of one directory: enough to recognise a kind of file.
const NAMES_MAX: usize = 2_000;
/// The most directories at the root whose names are read.
const DIRECTORIES_MAX: usize = 60;
/// The most directories of `src`, which contains packages.
const PACKAGES_MAX: usize = 20;
/// The most test files whose imports are read.
const TEST_TEXTS_MAX: usize = 30;

/// A name in the listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootEntry {
    /// A directory.
    Directory,
    /// A file.
    File {
        /// Its text, if detection needs it, and it is small enough and UTF-8.
        content: Option<String>,
    },
}

/// The input of detection: the names in the root directory, those one level below, and a few deeper ones
/// (`.github/workflows`, `src/*`), each by its path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootListing {
    /// By path, without a slash at the end.
    pub entries: BTreeMap<String, RootEntry>,
    /// When the commit was made, if it is one.
    pub committed_at: Option<Timestamp>,
}

impl RootListing {
    /// Reads what detection needs. `names` returns the names in a directory (`""` is the root; names of
    /// directories end in `/`; nothing if there is no such directory), `content` the bytes of a regular
    /// file, or `None` if it is larger than the given bound.
    pub fn read<E>(
        mut names: impl FnMut(&str) -> Result<Vec<String>, E>,
        mut content: impl FnMut(&str, u64) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, E> {
        let mut listing = Self::default();
        listing.add_directory("", &mut names)?;
        let visible = |path: &&String| !path.starts_with('.');
        let below_root: Vec<String> =
            listing.directories_in("").filter(visible).take(DIRECTORIES_MAX).cloned().collect();
        for path in [".devcontainer", ".github", ".github/workflows", ".cargo", ".config"] {
            if listing.is_directory(path) {
                listing.add_directory(path, &mut names)?;
            }
        }
        for path in &below_root {
            listing.add_directory(path, &mut names)?;
        }
        let mut deeper: Vec<String> = Vec::new();
        for parent in ["src", ".devcontainer"] {
            deeper.extend(listing.directories_in(parent).take(PACKAGES_MAX).cloned());
        }
        for directory in below_root {
            let tests = ["tests", "test"].map(|name| format!("{directory}/{name}"));
            deeper.extend(tests.into_iter().filter(|path| listing.is_directory(path)));
        }
        for path in deeper {
            listing.add_directory(&path, &mut names)?;
        }
        let mut test_texts = 0;
        for (path, entry) in &mut listing.entries {
            let RootEntry::File { content: text } = entry else { continue };
            if is_test_path(path) && !is_named(path) {
                test_texts += 1;
                if test_texts > TEST_TEXTS_MAX {
                    continue;
                }
            } else if !is_named(path) {
                continue;
            }
            *text = content(path, DETECTION_BYTES_MAX)?.and_then(|bytes| String::from_utf8(bytes).ok());
        }
        Ok(listing)
    }

    fn add_directory<E>(
        &mut self,
        directory: &str,
        names: &mut impl FnMut(&str) -> Result<Vec<String>, E>,
    ) -> Result<(), E> {
        for name in names(directory)?.into_iter().take(NAMES_MAX) {
            let entry = match name.ends_with('/') {
                true => RootEntry::Directory,
                false => RootEntry::File { content: None },
            };
            let name = name.trim_end_matches('/');
            let path = if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
            self.entries.entry(path).or_insert(entry);
        }
        Ok(())
    }

    /// The directories of the root that hold a project: one with a manifest.
    pub(super) fn projects_below(&self) -> Vec<&str> {
        let directories = self.directories_in("").map(String::as_str);
        let holds_project = |directory: &&str| {
            !directory.starts_with('.') && self.files_in(directory).any(is_project_manifest)
        };
        directories.filter(holds_project).collect()
    }

    /// Whether a path is in a project below the root.
    pub(super) fn is_in_project_below(&self, path: &str) -> bool {
        path.split_once('/').is_some_and(|(directory, _)| self.files_in(directory).any(is_project_manifest))
    }

    /// The listing of one directory, as if it were the root.
    pub(super) fn below(&self, directory: &str) -> Self {
        let inside = |(path, entry): (&String, &RootEntry)| {
            let rest = path.strip_prefix(directory)?.strip_prefix('/')?;
            Some((rest.to_owned(), entry.clone()))
        };
        Self { entries: self.entries.iter().filter_map(inside).collect(), committed_at: self.committed_at }
    }

    /// Whether there is something at `path`.
    pub(super) fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// Whether there is a file at `path`.
    pub(super) fn has_file(&self, path: &str) -> bool {
        matches!(self.entries.get(path), Some(RootEntry::File { .. }))
    }

    /// Whether there is a directory at `path`.
    pub(super) fn is_directory(&self, path: &str) -> bool {
        matches!(self.entries.get(path), Some(RootEntry::Directory))
    }

    /// The text of the file at `path`, if it was read.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        match self.entries.get(path)? {
            RootEntry::File { content } => content.as_deref(),
            RootEntry::Directory => None,
        }
    }

    /// The first of `paths` that is a file.
    pub(super) fn first<'p>(&self, paths: &[&'p str]) -> Option<&'p str> {
        paths.iter().copied().find(|path| self.has_file(path))
    }

    /// The paths of all files.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            RootEntry::File { .. } => Some(path.as_str()),
            RootEntry::Directory => None,
        })
    }

    /// The names of the files directly in `directory` (`""`: the root).
    pub(super) fn files_in<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = &'a str> {
        self.files().filter_map(move |path| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            (parent == directory).then_some(name)
        })
    }

    /// The paths of the directories directly in `directory`.
    fn directories_in<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = &'a String> {
        self.entries.iter().filter_map(move |(path, entry)| {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            (parent == directory && *entry == RootEntry::Directory).then_some(path)
        })
    }
}

/// Whether a file of this name makes its directory a project.
fn is_project_manifest(name: &str) -> bool {
    const MANIFESTS: &[&str] = &[
        "Cargo.toml",
        "Gemfile",
        "Pipfile",
        "build.gradle",
        "build.gradle.kts",
        "composer.json",
        "deno.json",
        "go.mod",
        "manage.py",
        "mix.exs",
        "package.json",
        "pom.xml",
        "pyproject.toml",
        "pytest.ini",
        "setup.cfg",
        "setup.py",
        "tox.ini",
    ];
    MANIFESTS.contains(&name) || is_requirements(name)
}

/// Whether the text of a file with this name matters.
fn is_named(path: &str) -> bool {
    const ROOT: &[&str] = &[
        "CMakeLists.txt",
        "Cargo.toml",
        "Dockerfile",
        "GNUmakefile",
        "Gemfile",
        "Justfile",
        "Makefile",
        "Makefile.PL",
        "Pipfile",
        "Rakefile",
        "CONTRIBUTING.md",
        "DEVELOPMENT.md",
        "README",
        "README.md",
        "README.rst",
        "README.txt",
        ".devcontainer.json",
        ".node-version",
        ".nvmrc",
        ".justfile",
        "build.zig",
        "composer.json",
        "configure.ac",
        "deno.json",
        "deno.jsonc",
        "go.work",
        "justfile",
        "makefile",
        "meson.build",
        "noxfile.py",
        "package.json",
        "pyproject.toml",
        "rust-toolchain",
        "rust-toolchain.toml",
        "setup.cfg",
        "setup.py",
        "tox.ini",
        "yarn.lock",
    ];
    let is_yaml = |name: &str| name.ends_with(".yml") || name.ends_with(".yaml");
    match path.rsplit_once('/') {
        None => ROOT.contains(&path) || is_requirements(path) || path.ends_with(".gemspec"),
        Some((".github/workflows", name)) => is_yaml(name),
        Some((".cargo", name)) => name == "config.toml" || name == "config",
        Some(("requirements", name)) => name.ends_with(".txt"),
        // A project in a directory of its own.
        Some((directory, name)) if !directory.contains('/') && !directory.starts_with('.') => {
            ROOT.contains(&name) || is_requirements(name) || name.ends_with(".gemspec")
        }
        Some((directory, name)) if directory.starts_with(".devcontainer") => {
            name == "devcontainer.json" || name.starts_with("Dockerfile")
        }
        Some(_) => false,
    }
}

/// `requirements.txt`, `requirements-dev.txt`, `dev-requirements.txt` and the like.
fn is_requirements(name: &str) -> bool {
    name.strip_suffix(".txt").is_some_and(|stem| stem.contains("requirements"))
}
