//! The scripts of `package.json`: which ones test, and what they call.

use serde_json::Value;

/// The text of a script of `package.json`.
pub(super) fn script_of<'p>(package: &'p Value, name: &str) -> Option<&'p str> {
    package.get("scripts")?.get(name)?.as_str()
}

/// The commands of a script, one after another.
fn commands(script: &str) -> impl Iterator<Item = Vec<&str>> {
    script.split("&&").flat_map(|part| part.split(';')).map(|part| part.split_whitespace().collect())
}

/// The scripts of `package.json` that a command calls: `npm run lint`, `run-s clean test:*`.
fn called<'p>(words: &[&'p str], package: &'p Value) -> Vec<&'p str> {
    let is_name = |word: &&str| !word.starts_with('-');
    match words {
        ["npm" | "pnpm" | "yarn" | "bun", "run" | "run-script", rest @ ..] => {
            rest.iter().copied().find(is_name).into_iter().collect()
        }
        ["run-s" | "npm-run-all" | "npm-run-all2" | "run-p", rest @ ..] => {
            let scripts = package.get("scripts").and_then(Value::as_object);
            let scripts: Vec<&str> =
                scripts.into_iter().flat_map(|scripts| scripts.keys()).map(String::as_str).collect();
            let patterns = rest.iter().copied().filter(is_name);
            patterns.flat_map(|pattern| matching(pattern, &scripts)).collect()
        }
        ["yarn" | "pnpm", name, ..] if script_of(package, name).is_some() => vec![name],
        _ => Vec::new(),
    }
}

/// The scripts that a pattern of npm-run-all names: `*` stands for one part between colons, `**` for any number.
fn matching<'p>(pattern: &'p str, scripts: &[&'p str]) -> Vec<&'p str> {
    let Some((start, stars)) = pattern.split_once('*') else { return vec![pattern] };
    let within = |script: &&&str| {
        script
            .strip_prefix(start)
            .is_some_and(|rest| !rest.is_empty() && (stars == "*" || !rest.contains(':')))
    };
    scripts.iter().filter(within).copied().collect()
}

/// How deep scripts that call each other are followed.
const CALLS_MAX: usize = 4;

/// The part of a script that runs a test runner: of `eslint . && nyc mocha`, it is `mocha`. Scripts that it calls are
/// followed.
pub(super) fn testing_part(script: &str, package: &Value) -> Option<String> {
    testing_part_within(script, package, 0)
}

/// Whether a word sets a variable: `NODE_ENV=test`.
fn is_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    })
}

/// A [`testing_part`], with the runner from the repository's own modules.
pub(super) fn by_own_runner(part: &str) -> String {
    let words: Vec<&str> = part.split(' ').collect();
    let set = words.iter().take_while(|word| is_variable(word)).count();
    let (variables, runner) = words.split_at(set);
    let variables: String = variables.iter().map(|word| format!("{word} ")).collect();
    format!("{variables}npx --no-install {}", runner.join(" "))
}

fn testing_part_within(script: &str, package: &Value, depth: usize) -> Option<String> {
    const RUNNERS: [&str; 7] = ["mocha", "jest", "vitest", "ava", "tape", "jasmine", "qunit"];
    if depth > CALLS_MAX {
        return None;
    }
    commands(script).find_map(|words| {
        let mut called = called(&words, package).into_iter();
        let inside =
            called.find_map(|name| testing_part_within(script_of(package, name)?, package, depth + 1));
        inside.or_else(|| {
            // Before the runner: variables, and programs that measure coverage.
            let at = words.iter().position(|word| RUNNERS.contains(word))?;
            let is_runner = words[..at].iter().all(|word| {
                matches!(*word, "nyc" | "c8" | "cross-env" | "npx" | "env")
                    || word.starts_with('-')
                    || word.contains('=')
            });
            // A variable can be what makes the runner start, as a loader of TypeScript. One whose value has blanks is
            // not whole here.
            let is_whole = |word: &str| word.matches(['\'', '"']).count().is_multiple_of(2);
            let set = words[..at].iter().filter(|word| is_variable(word) && is_whole(word));
            is_runner.then(|| set.chain(&words[at..]).copied().collect::<Vec<_>>().join(" "))
        })
    })
}

/// Of the scripts that the script `test` calls, the one that is most likely to test, and only to test. Its name is all
/// that is known: of `run-s lint test:unit test:browser`, it is `test:unit`.
pub(super) fn testing_script<'p>(test: &'p str, package: &'p Value) -> Option<&'p str> {
    let mut all = Vec::new();
    let mut level: Vec<&str> = vec![test];
    for _ in 0..CALLS_MAX {
        let next: Vec<&str> = level
            .iter()
            .flat_map(|script| commands(script))
            .flat_map(|words| called(&words, package))
            .collect();
        let fresh: Vec<&str> = next.into_iter().filter(|name| !all.contains(name)).collect();
        all.extend(&fresh);
        level = fresh.into_iter().filter_map(|name| script_of(package, name)).collect();
    }
    let says = |name: &str, words: &[&str]| {
        name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| words.contains(&part))
    };
    const TESTS: &[&str] = &["test", "tests", "unit", "spec", "specs"];
    const NEEDS_MORE: &[&str] = &[
        "browser",
        "browsers",
        "chrome",
        "cov",
        "coverage",
        "dts",
        "e2e",
        "integration",
        "lint",
        "perf",
        "size",
        "smoke",
        "ts",
        "tsd",
        "type",
        "types",
        "watch",
    ];
    let tests = |name: &&&str| {
        let text = script_of(package, name).unwrap_or_default();
        says(name, TESTS) && !says(name, NEEDS_MORE) && !watches(text) && !is_placeholder(text)
    };
    // With "unit" in its name before one without; else the one that is called first.
    let candidates: Vec<&str> = all.iter().filter(tests).copied().collect();
    candidates.iter().find(|name| says(name, &["unit"])).or(candidates.first()).copied()
}

/// Whether a script is a placeholder: it only prints, and sets an exit code.
pub(super) fn is_placeholder(script: &str) -> bool {
    script
        .split(['&', ';', '|'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .all(|part| matches!(part.split_whitespace().next(), Some("echo" | "exit" | "true" | "false" | ":")))
}

/// Whether the script waits for changes. Sandboxes set `CI`, which ends scripts that check it.
pub(super) fn watches(script: &str) -> bool {
    let mut words = script.split_whitespace();
    words.any(|word| matches!(word, "--watch" | "--watchAll" | "--watch=true" | "--watchAll=true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_of_a_script_that_tests_is_found_behind_linters_and_coverage() {
        let package = serde_json::json!({"scripts": {
            "lint": "eslint .", "unit": "c8 --all mocha -R spec", "all": "run-s lint unit",
        }});
        let part = |script: &str| testing_part(script, &package);
        assert_eq!(part("npm run lint && nyc mocha test"), Some("mocha test".to_owned()));
        assert_eq!(part("npm run all"), Some("mocha -R spec".to_owned()));
        assert_eq!(part("xo && NODE_ENV=test jest --ci"), Some("NODE_ENV=test jest --ci".to_owned()));
        assert_eq!(part("tsc && cross-env A='x y' c8 ava -v"), None);
        assert_eq!(by_own_runner("A='x' ava -v"), "A='x' npx --no-install ava -v");
        assert_eq!(by_own_runner("mocha"), "npx --no-install mocha");
        assert_eq!(part("eslint . && tsc"), None);
        assert_eq!(part("echo jest"), None);
    }

    #[test]
    fn script_that_tests_is_found_among_those_that_the_script_test_calls() {
        let package = serde_json::json!({"scripts": {
            "all": "run-s clean test-node:* report", "lint": "eslint .", "clean": "rimraf out",
            "report": "nyc report", "test-browser": "playwright test", "test-node:integration": "node run.js slow",
            "test-node:only:a": "node run.js only", "test-node:unit": "npm run -s run -- \"test/**\"",
            "run": "node run.js", "test:watch": "node run.js --watch", "check": "run-p lint:**", "loop": "npm run loop",
        }});
        let script = |test: &'static str| testing_script(test, &package);
        assert_eq!(script("run-s lint all test-browser"), Some("test-node:unit"));
        assert_eq!(script("npm run --silent all"), Some("test-node:unit"));
        assert_eq!(script("npm run lint && npm run test-browser"), None);
        assert_eq!(script("run-p test:*"), None);
        assert_eq!(script("run-s lint test-node:only:**"), Some("test-node:only:a"));
        assert_eq!(script("npm run check && npm run loop"), None);
        assert_eq!(
            matching("test-node:*", &["test-node:unit", "test-node:only:a", "lint"]),
            ["test-node:unit"]
        );
    }
}
