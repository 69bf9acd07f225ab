//! What a repository's README says about its tests, and scripts with the name of a test runner: for a repository whose
//! other files say nothing, and to try last where they do.

use super::shell_quoting::quoted;
use super::workflow::{Purpose, purpose};
use super::{Detected, Plan, RootListing};

/// Texts for people who contribute, in the order in which they are read.
const TEXTS: [&str; 7] = [
    "CONTRIBUTING.md",
    ".github/CONTRIBUTING.md",
    "README.md",
    "README.rst",
    "README",
    "README.txt",
    "DEVELOPMENT.md",
];
/// The most setup commands of a section.
const SETUP_MAX: usize = 6;
/// The most scripts.
const SCRIPTS_MAX: usize = 2;
/// Longest command.
const COMMAND_CHARS_MAX: usize = 300;

/// The plans, most likely first.
pub(super) fn plans(root: &RootListing) -> Vec<Plan> {
    let in_texts = TEXTS.iter().filter_map(|name| in_text(name, root.text(name)?));
    in_texts.chain(scripts(root)).collect()
}

/// The first command of a section about tests that runs tests, with the commands before it in that section that install
/// or build something.
fn in_text(name: &str, text: &str) -> Option<Plan> {
    let mut heading = "";
    let mut setup: Vec<Detected<String>> = Vec::new();
    let mut builds: Vec<String> = Vec::new();
    let mut in_fence = false;
    for line in text.lines() {
        let bare = line.trim();
        if bare.starts_with("```") || bare.starts_with("~~~") {
            in_fence = !in_fence;
            continue;
        }
        if !in_fence && bare.starts_with('#') {
            heading = bare.trim_matches(['#', ' ']);
            (setup, builds) = (Vec::new(), Vec::new());
            continue;
        }
        let is_code = in_fence || line.starts_with("    ") || line.starts_with('\t');
        let about_tests = ["test", "develop", "contribut", "check"]
            .iter()
            .any(|word| heading.to_lowercase().contains(word));
        if !is_code || !about_tests || bare.starts_with('#') {
            continue;
        }
        let command = bare.trim_start_matches(['$', '>', '%']).trim();
        if command.len() > COMMAND_CHARS_MAX || command.contains(['<', '…']) || command.ends_with('\\') {
            continue;
        }
        let source = format!("the section {heading:?} in {name}");
        match purpose(command) {
            Purpose::Test => {
                builds.push(command.to_owned());
                return Some(Plan { setup, test: Detected::new(builds.join(" && "), source) });
            }
            Purpose::Install if setup.len() < SETUP_MAX => setup.push(Detected::new(command, source)),
            // The agent changes sources, so building is a part of the test command.
            Purpose::Build if builds.len() < SETUP_MAX => builds.push(command.to_owned()),
            Purpose::Install | Purpose::Build | Purpose::Other => {}
        }
    }
    None
}

/// Scripts such as `run-tests.sh` and `scripts/test`; those at the root come first.
fn scripts(root: &RootListing) -> Vec<Plan> {
    let mut paths: Vec<&str> = root.files().filter(|path| is_runner(path)).collect();
    paths.sort_by_key(|path| path.contains('/'));
    let plan = |path: &&str| Plan {
        setup: Vec::new(),
        test: Detected::new(format!("./{}", quoted(path)), format!("{path}, by its name")),
    };
    paths.iter().take(SCRIPTS_MAX).map(plan).collect()
}

/// Whether a script has the name of a test runner, in one of the usual places.
fn is_runner(path: &str) -> bool {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.strip_suffix(".sh").unwrap_or(name).replace(['-', '_'], "");
    let is_named = ["runtest", "runtests", "testall", "runalltests"].contains(&stem.as_str())
        || (["test", "tests"].contains(&stem.as_str()) && (name.ends_with(".sh") || !directory.is_empty()));
    is_named && ["", "script", "scripts", "bin", "ci", "tools"].contains(&directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::RootEntry;

    fn planned(files: &[(&str, &str)]) -> Vec<String> {
        let entry = |(path, text): &(&str, &str)| {
            ((*path).to_owned(), RootEntry::File { content: Some((*text).to_owned()) })
        };
        let root = RootListing { entries: files.iter().map(entry).collect(), ..RootListing::default() };
        let in_words = |plan: &Plan| {
            let commands = plan.setup.iter().chain([&plan.test]).map(|command| command.value.as_str());
            format!("{} | {}", commands.collect::<Vec<_>>().join(" ▸ "), plan.test.source)
        };
        plans(&root).iter().map(in_words).collect()
    }

    #[test]
    fn section_about_tests_is_read_and_others_are_not() {
        let readme = "# x\n\n## Usage\n\n```sh\nnpm test\n```\n\n## Running the tests\n\nFirst:\n\n```sh\n$ pip install -r dev.txt\n\
                      $ ./configure --debug\n$ make -j4\n$ make check\n```\n";
        let indented = "Building\n========\n\n# Tests\n\nRun\n\n    $ cargo test --all\n\nor not.\n";
        assert_eq!(
            planned(&[("README.md", readme), ("CONTRIBUTING.md", indented)]),
            [
                "cargo test --all | the section \"Tests\" in CONTRIBUTING.md",
                "pip install -r dev.txt ▸ ./configure --debug && make -j4 && make check | the section \"Running the tests\" in \
                 README.md",
            ]
        );
        let none = "## Tests\n\nRun `make check`.\n\n```\nmake <target>\nfoo bar\n```\n";
        assert_eq!(planned(&[("README.md", none)]), [""; 0]);
    }

    #[test]
    fn script_with_the_name_of_a_runner_is_tried_and_the_root_comes_first() {
        let files = [
            ("bin/test", ""),
            ("run-tests.sh", ""),
            ("scripts/deploy.sh", ""),
            ("src/test.sh", ""),
            ("test", ""),
        ];
        assert_eq!(
            planned(&files),
            ["./run-tests.sh | run-tests.sh, by its name", "./bin/test | bin/test, by its name"]
        );
    }
}
