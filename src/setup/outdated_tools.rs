//! Names a toolchain of another version than a repository wants, usually an older one, from what the tools themselves
//! print about it.

use std::sync::LazyLock;

use regex::Regex;

/// A message, and what it tells: `tool`, perhaps with the version that is there (`has`) and the one that is wanted
/// (`wants`).
struct VersionMessage {
    tool: &'static str,
    pattern: Regex,
}

static MESSAGES: LazyLock<Vec<VersionMessage>> = LazyLock::new(|| {
    let message = |tool: &'static str, pattern: &str| VersionMessage {
        tool,
        pattern: Regex::new(pattern).expect("the pattern is a constant, and a test compiles it"),
    };
    vec![
        message("Go", r"go\.mod requires go >= (?P<wants>[\d.]+) \(running go (?P<has>[\d.]+)"),
        message("Go", r"note: module requires Go (?P<wants>[\d.]+)"),
        message("Go", r"invalid go version '(?P<wants>[\d.]+)': must match format"),
        message("Go", r"package [a-z/]+ is not in GOROOT \(\S*/go-(?P<has>[\d.]+)/"),
        message(
            "Rust",
            r"requires rustc (?P<wants>[\d.]+)(?: or newer)?, while the currently active rustc version is (?P<has>[\d.]+)",
        ),
        message("Rust", r"requires rustc (?P<wants>\d+\.[\d.]+)"),
        message("Rust", r"feature `(?P<wants>edition\d+)` is required"),
        message("Python", r"requires a different Python: (?P<has>[\d.]+) not in '(?P<wants>[^']+)'"),
        message(
            "Python",
            r"current Python version \((?P<has>[\d.]+)\) does not satisfy Python(?P<wants>[<>=!\d., ]+)",
        ),
        message("Python", r"requires-python`? value of `?(?P<wants>[<>=!\d., ]+)"),
        message(
            "Node",
            r#"The engine "node" is incompatible .* Expected version "(?P<wants>[^"]+)"\. Got "(?P<has>[^"]+)""#,
        ),
        message(
            "Node",
            r"requires at least Node\.js v(?P<wants>[\d.]+)\s[^\n]*\n?[^\n]*current version of Node\.js is v(?P<has>[\d.]+)",
        ),
        message("Java", r"release version (?P<wants>\d+) not supported"),
        message("Java", r"invalid (?:target|source) release: (?P<wants>\d+)"),
        message("PHP", r"requires php (?P<wants>\S+) .*your php version \((?P<has>[\d.]+)"),
        message(
            "Ruby",
            r"Your Ruby version is (?P<has>[\d.]+), but your Gemfile specified (?P<wants>[<>=~\d. ]+)",
        ),
        message(
            "Ruby",
            r"requires Ruby version (?P<wants>[<>=~\d. ]+)\. The current ruby version is (?P<has>[\d.]+)",
        ),
        message(
            "CMake",
            r"CMake (?P<wants>[\d.]+) or higher is required\.\s+You are running version (?P<has>[\d.]+)",
        ),
    ]
});

/// A sentence on the first toolchain that an output says does not suit; empty if it says so of none.
pub(super) fn outdated_tools(output: &str) -> String {
    let Some((tool, captures)) =
        MESSAGES.iter().find_map(|message| Some((message.tool, message.pattern.captures(output)?)))
    else {
        return String::new();
    };
    let of = |name: &str| {
        captures
            .name(name)
            .map(|found| found.as_str().trim().trim_end_matches(['.', ',']))
            .filter(|found| !found.is_empty())
    };
    let has = of("has").map_or_else(
        || format!("The sandbox's {tool} does not suit"),
        |has| format!("The sandbox has {tool} {has}"),
    );
    let wants = of("wants").map_or("a newer one".to_owned(), |wants| format!("`{wants}`"));
    format!("{has}, and the repository wants {wants}: use an image that has it (`image:`).")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toolchain_that_is_too_old_is_named_with_both_versions() {
        let outputs = [
            "go: go.mod requires go >= 1.22 (running go 1.19.8; GOTOOLCHAIN=local)",
            "./x.go:3:2: cannot find package\nnote: module requires Go 1.21",
            "go: errors parsing go.mod:\n/workspace/go.mod:3: invalid go version '1.21.0': must match format 1.23",
            "context.go:6:2: package slices is not in GOROOT (/usr/lib/go-1.19/src/slices)",
            "error: package `a v1.0.0` cannot be built because it requires rustc 1.85 or newer, while the currently \
             active rustc version is 1.75.0",
            "error: rustc 1.75.0 is not supported by the following package:\n  a@1.0.0 requires rustc 1.85",
            "feature `edition2024` is required\n\nThe package requires the Cargo feature",
            "ERROR: Package 'a' requires a different Python: 3.11.2 not in '>=3.12'",
            "The current project's supported Python range is not met: current Python version (3.11.2) does not satisfy \
             Python>=3.13.",
            "error a@1.0.0: The engine \"node\" is incompatible with this module. Expected version \">=22\". Got \
             \"18.20.4\"",
            "warn: This version of pnpm requires at least Node.js v22.13\nwarn: The current version of Node.js is v20.20.2",
            "[ERROR] Fatal error compiling: error: release version 21 not supported",
            "error: invalid target release: 21",
            "- a/b 2.0 requires php >=8.3 -> your php version (8.2.29) does not satisfy that requirement.",
            "Your Ruby version is 3.1.2, but your Gemfile specified ~> 3.3",
            "CMake Error at CMakeLists.txt:1 (cmake_minimum_required):\n  CMake 3.28 or higher is required.  You are \
             running version 3.25.1",
        ];
        let lines: Vec<String> = outputs.iter().map(|output| outdated_tools(output)).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        The sandbox has Go 1.19.8, and the repository wants `1.22`: use an image that has it (`image:`).
        The sandbox's Go does not suit, and the repository wants `1.21`: use an image that has it (`image:`).
        The sandbox's Go does not suit, and the repository wants `1.21.0`: use an image that has it (`image:`).
        The sandbox has Go 1.19, and the repository wants a newer one: use an image that has it (`image:`).
        The sandbox has Rust 1.75.0, and the repository wants `1.85`: use an image that has it (`image:`).
        The sandbox's Rust does not suit, and the repository wants `1.85`: use an image that has it (`image:`).
        The sandbox's Rust does not suit, and the repository wants `edition2024`: use an image that has it (`image:`).
        The sandbox has Python 3.11.2, and the repository wants `>=3.12`: use an image that has it (`image:`).
        The sandbox has Python 3.11.2, and the repository wants `>=3.13`: use an image that has it (`image:`).
        The sandbox has Node 18.20.4, and the repository wants `>=22`: use an image that has it (`image:`).
        The sandbox has Node 20.20.2, and the repository wants `22.13`: use an image that has it (`image:`).
        The sandbox's Java does not suit, and the repository wants `21`: use an image that has it (`image:`).
        The sandbox's Java does not suit, and the repository wants `21`: use an image that has it (`image:`).
        The sandbox has PHP 8.2.29, and the repository wants `>=8.3`: use an image that has it (`image:`).
        The sandbox has Ruby 3.1.2, and the repository wants `~> 3.3`: use an image that has it (`image:`).
        The sandbox has CMake 3.25.1, and the repository wants `3.28`: use an image that has it (`image:`).
        ");
        for other in ["FAILED test_a", "requires a newer pip", ""] {
            assert_eq!(outdated_tools(other), "", "{other}");
        }
    }
}
