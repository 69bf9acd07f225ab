//! Who is asked for a review: the owners of the changed files in the base branch's `CODEOWNERS`, else the person who
//! requested the work. Pure.
//! Source: docs.github.com, "About code owners".

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::github::Reviewers;

/// Where GitHub looks, in this order; the first file that exists counts.
pub const CODEOWNERS_PATHS: [&str; 3] = [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"];
/// Longest file that is read, in lines.
const LINES_MAX: usize = 5_000;
/// Most reviewers that are asked; GitHub accepts fifteen.
const REVIEWERS_MAX: usize = 10;

/// A `CODEOWNERS` file, read.
#[derive(Debug, Default)]
pub struct CodeOwners {
    patterns: GlobSet,
    /// For each glob of `patterns` the owners of its line.
    owners: Vec<Vec<Owner>>,
}

/// An owner. E-mail addresses are dropped: GitHub requests no review by address.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    User(String),
    Team { organisation: String, slug: String },
}

impl CodeOwners {
    /// Reads a file. Invalid lines are skipped, as GitHub does.
    pub fn read(text: &str) -> Self {
        let (mut patterns, mut owners) = (GlobSetBuilder::new(), Vec::new());
        for line in text.lines().take(LINES_MAX) {
            let Some((pattern, named)) = read_line(line) else { continue };
            for glob in globs(&pattern) {
                let built = GlobBuilder::new(&glob).literal_separator(true).backslash_escape(false).build();
                if let Ok(glob) = built {
                    patterns.add(glob);
                    owners.push(named.clone());
                }
            }
        }
        match patterns.build() {
            Ok(patterns) => Self { patterns, owners },
            // Too many or too large patterns: as if there were none.
            Err(_) => Self::default(),
        }
    }

    /// The owners of a file: those of the last line that matches it, if any.
    fn of(&self, path: &str) -> &[Owner] {
        self.patterns.matches(path).into_iter().max().map_or(&[], |last| &self.owners[last])
    }

    /// The reviewers of a change to `paths` in a repository of `organisation`: the owners of the paths, or `otherwise`
    /// if they have none. Never `author`, who cannot review their own pull request.
    pub fn reviewers(
        &self,
        paths: &[String],
        organisation: &str,
        author: &str,
        otherwise: Option<&str>,
    ) -> Reviewers {
        let mut reviewers = Reviewers::default();
        for owner in paths.iter().flat_map(|path| self.of(path)) {
            match owner {
                Owner::User(login) => add(&mut reviewers.users, login, author),
                // GitHub asks only teams of the organisation that the repository is in.
                Owner::Team { organisation: theirs, slug } if theirs.eq_ignore_ascii_case(organisation) => {
                    add(&mut reviewers.teams, slug, "");
                }
                Owner::Team { .. } => {}
            }
        }
        if reviewers.is_empty()
            && let Some(login) = otherwise
        {
            add(&mut reviewers.users, login, author);
        }
        reviewers.users.truncate(REVIEWERS_MAX);
        reviewers.teams.truncate(REVIEWERS_MAX - reviewers.users.len());
        reviewers
    }
}

fn add(list: &mut Vec<String>, name: &str, never: &str) {
    let is_known = list.iter().any(|known| known.eq_ignore_ascii_case(name));
    if !is_known && !name.eq_ignore_ascii_case(never) {
        list.push(name.to_owned());
    }
}

/// The pattern and the owners of a line; `None` for an empty or invalid line.
fn read_line(line: &str) -> Option<(String, Vec<Owner>)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut pattern = String::new();
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            // A space, or `#`, that belongs to the path.
            '\\' => pattern.extend(rest.next()),
            c if c.is_whitespace() => break,
            c => pattern.push(c),
        }
    }
    let named = rest.as_str().split_whitespace().take_while(|word| !word.starts_with('#'));
    // GitHub supports neither negation nor character classes here.
    let is_valid = !pattern.starts_with('!') && !pattern.contains(['[', ']']);
    is_valid.then(|| (pattern, named.filter_map(owner).collect()))
}

fn owner(word: &str) -> Option<Owner> {
    let name = word.strip_prefix('@')?;
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match name.split_once('/') {
        Some((organisation, slug)) if is_name(organisation) && is_name(slug) => {
            Some(Owner::Team { organisation: organisation.to_owned(), slug: slug.to_owned() })
        }
        None if is_name(name) => Some(Owner::User(name.to_owned())),
        Some(_) | None => None,
    }
}

/// The globs that a pattern means.
fn globs(pattern: &str) -> Vec<String> {
    let is_directory = pattern.ends_with('/');
    let body = pattern.trim_matches('/');
    if body.is_empty() {
        return vec!["**".to_owned()];
    }
    // A slash at the beginning or in the middle anchors the pattern at the root.
    let is_anchored = pattern.starts_with('/') || body.contains('/');
    // In a glob a brace would be a choice.
    let body = body.replace('{', "[{]").replace('}', "[}]");
    let place = if is_anchored || body.starts_with("**/") { body.clone() } else { format!("**/{body}") };
    let last = body.rsplit('/').next().unwrap_or(&body);
    match (is_directory, last) {
        (true, _) => vec![format!("{place}/**")],
        (false, "**") => vec![place],
        // `docs/*` means the files directly in `docs`.
        (false, last) if is_anchored && last.contains('*') => vec![place],
        (false, _) => vec![place.clone(), format!("{place}/**")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(file: &str, paths: &[&str]) -> String {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let reviewers = CodeOwners::read(file).reviewers(&paths, "octo", "mendwright[bot]", Some("grace"));
        [reviewers.users, reviewers.teams.iter().map(|team| format!("team {team}")).collect()]
            .concat()
            .join(" ")
    }

    /// The example of GitHub's own page, shortened.
    const FILE: &str = "
        # comment
        *       @global-owner1 @global-owner2
        *.js    @js-owner # an inline comment @nobody
        *.go    docs@example.com
        *.txt   @octo/octocats
        /build/logs/ @doctocat
        docs/*  docs-owner@example.com @docs-owner
        apps/   @octocat
        /docs/  @doctocat
        /scripts/ @doctocat @octocat
        **/logs @octocat2
        /apps/github
        spaced\\ name.md @spacey
        !not.md @nobody
        [abc].md @nobody
        ";

    #[test]
    fn last_matching_line_names_the_owners() {
        for (path, owners) in [
            ("README.md", "global-owner1 global-owner2"),
            ("src/deep/x.js", "js-owner"),
            ("x.go", "grace"),
            ("notes/a.txt", "team octocats"),
            ("build/logs/x.rb", "octocat2"),
            ("build/out.rb", "global-owner1 global-owner2"),
            ("src/apps/x.rb", "octocat"),
            ("docs/x.md", "doctocat"),
            ("docs/deep/x.md", "doctocat"),
            ("scripts/x", "doctocat octocat"),
            ("deep/logs/x", "octocat2"),
            ("apps/github/x.rb", "grace"),
            ("spaced name.md", "spacey"),
            ("not.md", "global-owner1 global-owner2"),
            ("a.md", "global-owner1 global-owner2"),
        ] {
            assert_eq!(asked(FILE, &[path]), owners, "{path}");
        }
    }

    #[test]
    fn final_star_matches_one_level_and_a_name_without_slash_matches_anywhere() {
        let file = "docs/* @near\nlib @lib\n/top.rs @top\n{a}.rs @brace";
        assert_eq!(asked(file, &["docs/x.md"]), "near");
        assert_eq!(asked(file, &["docs/deep/x.md"]), "grace");
        assert_eq!(asked(file, &["x/lib/y.rs"]), "lib");
        assert_eq!(asked(file, &["lib"]), "lib");
        assert_eq!(asked(file, &["x/top.rs"]), "grace");
        assert_eq!(asked(file, &["{a}.rs"]), "brace");
    }

    #[test]
    fn every_reviewer_is_asked_once_and_never_the_author_or_other_organisations() {
        let file = "* @A @a @mendwright @other/team @octo/Core @octo/core mail@example.com @bad!name";
        assert_eq!(asked(file, &["x", "y"]), "A mendwright team Core");
        let own = CodeOwners::read("* @grace").reviewers(&["x".into()], "octo", "grace", Some("grace"));
        assert!(own.is_empty());
        let many: String = (0..40).map(|n| format!(" @u{n}")).collect();
        assert_eq!(asked(&format!("*{many}"), &["x"]).split(' ').count(), REVIEWERS_MAX);
        assert_eq!(asked("", &["x"]), "grace");
    }
}
