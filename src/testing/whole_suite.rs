//! Whether a test command that a model wrote can be believed to run the whole suite and to end as the suite does.
//! Looks only at words, so it is a first look: what a run with failing tests reports decides.

use super::recognition::recognise;
use super::shell_words::{ShellLine, base_name, is_assignment};

/// Programs that print what they are given. A report of theirs would say nothing.
const PRINTERS: &[&str] = &[
    "awk", "base64", "cat", "cut", "echo", "grep", "head", "jq", "ls", "printf", "sed", "tail", "tee", "tr",
    "yes",
];
/// Programs that decide how a command ends, or run others unseen.
const CONTROLS: &[&str] = &[":", "eval", "exit", "export", "false", "return", "trap", "true", "unset"];
/// What may stand before the suite and runs no test.
const PREPARATIONS: &[&str] = &[".", "[", "cd", "mkdir", "set", "source", "test"];
/// Programs that run a script which is given to them, and their options that take code instead.
const INTERPRETERS: &[(&str, &str)] = &[
    ("bash", "c"),
    ("dash", "c"),
    ("deno", ""),
    ("lua", "e"),
    ("node", "ep"),
    ("perl", "eEnp"),
    ("php", "rBRE"),
    ("python", "c"),
    ("ruby", "enp"),
    ("sh", "c"),
    ("zsh", "c"),
];
/// Programs that run tasks which a file of the repository defines, or the tests of one language.
const TASK_RUNNERS: &[&str] = &[
    "Build", "ant", "bazel", "bazelisk", "bun", "cabal", "cargo", "clj", "cmake", "composer", "crystal",
    "ctest", "dart", "deno", "dotnet", "dune", "flutter", "gmake", "go", "gradle", "gradlew", "hatch",
    "jest", "just", "lein", "make", "meson", "mix", "mocha", "mvn", "mvnw", "nim", "ninja", "nox", "npm",
    "nx", "pdm", "phpunit", "pnpm", "prove", "pytest", "rake", "rspec", "sbt", "stack", "swift", "task",
    "tox", "turbo", "unittest", "vitest", "yarn", "zig",
];
/// What runs another program, with the word that stands between.
const LAUNCHERS: &[(&str, Option<&str>)] = &[
    ("bundle", Some("exec")),
    ("bunx", None),
    ("corepack", None),
    ("coverage", Some("run")),
    ("env", None),
    ("exec", None),
    ("hatch", Some("run")),
    ("nice", None),
    ("npx", None),
    ("pdm", Some("run")),
    ("pipenv", Some("run")),
    ("poetry", Some("run")),
    ("rye", Some("run")),
    ("time", None),
    ("timeout", None),
    ("uv", Some("run")),
    ("xvfb-run", None),
];
/// Options of these that take a value in the next word.
const VALUE_OPTIONS: &[&str] = &[
    "--extra",
    "--from",
    "--group",
    "--only-group",
    "--package",
    "--python",
    "--with",
    "-k",
    "-n",
    "-p",
    "-s",
];
/// Options that leave tests out or hide failures, without their dashes, whatever the runner.
const LEAVES_OUT: &[&str] = &[
    "DskipTests",
    "Dmaven.test.failure.ignore",
    "Dmaven.test.skip",
    "Dtest",
    "co",
    "collect-only",
    "deselect",
    "dry-run",
    "exclude-group",
    "exclude-regex",
    "exclude-tag",
    "exit-zero",
    "fail-never",
    "filter",
    "fn",
    "forgive",
    "grep",
    "group",
    "ignore",
    "ignore-errors",
    "ignore-glob",
    "invert",
    "just-print",
    "last-failed",
    "lf",
    "list",
    "list-tests",
    "no-run",
    "only",
    "pass-with-no-tests",
    "passWithNoTests",
    "question",
    "run",
    "skip",
    "skipTests",
    "test-name-pattern",
    "testNamePattern",
    "testPathIgnorePatterns",
    "testPathPattern",
    "tests",
    "testsuite",
    "touch",
];
/// Options that end a run at its first failure, without their dashes.
const STOPS_EARLY: &[&str] =
    &["bail", "exitfirst", "fail-fast", "failfast", "max-fail", "maxfail", "stop-on-failure", "stop-on-fail"];
/// For each tool, the single letters that leave tests out, hide failures, or end a run early.
const LETTERS: &[(&str, &str)] = &[
    ("ctest", "EILNR"),
    ("jest", "bt"),
    ("make", "inqt"),
    ("mocha", "bfgi"),
    ("nextest", "E"),
    ("ninja", "n"),
    ("pytest", "kmx"),
    ("rspec", "et"),
    ("unittest", "fk"),
    ("vitest", "t"),
];
/// Ends of the names of variables from which programs read options.
const OPTION_VARIABLES: &[&str] =
    &["ADDOPTS", "ARGS", "ENV", "FLAGS", "OPT", "OPTIONS", "OPTS", "PLUGINS", "PRELOAD", "TESTS"];
/// Variables whose values may stand in words.
const KNOWN_VARIABLES: &[&str] = &["${HOME}", "${PATH}", "${PWD}", "$HOME", "$PATH", "$PWD"];

/// Why a test command may run less than the whole suite, or may end otherwise than it. `None`: no word speaks against
/// it.
pub fn why_not_the_whole_suite(command: &str) -> Option<String> {
    // Errors beside the output change nothing.
    let command = command.replace(" 2>&1", "");
    let Some(line) = ShellLine::read(&command) else {
        return Some("it is too long, or a quotation does not end".to_owned());
    };
    let is_known = |operator: &str| matches!(operator, "&&" | "$" | "{" | "}");
    if let Some(operator) = line.operators.iter().find(|operator| !is_known(operator)) {
        let operator = operator.replace('\n', "a line break");
        return Some(format!(
            "it has `{operator}` outside quotes, so its exit code may not be that of the tests; only `&&` joins commands"
        ));
    }
    let count = line.commands.len();
    if count == 0 {
        return Some("it is empty".to_owned());
    }
    let check = |(at, words): (usize, &Vec<String>)| why_not(words, at + 1 == count);
    line.commands.iter().enumerate().find_map(check)
}

/// The same for one command of it.
fn why_not(words: &[String], is_last: bool) -> Option<String> {
    let words = match program_and_arguments(words) {
        Ok(words) => words,
        Err(why) => return Some(why),
    };
    let unknown = words.iter().find(|word| {
        KNOWN_VARIABLES.iter().fold((*word).clone(), |word, known| word.replace(known, "")).contains('$')
    });
    if let Some(word) = unknown {
        return Some(format!("`{word}` has a variable or a substitution, which hides what is run"));
    }
    let (program, arguments) = words.split_first()?;
    let name = plain_name(program);
    if PRINTERS.contains(&name) || CONTROLS.contains(&name) || (is_last && PREPARATIONS.contains(&name)) {
        return Some(format!("`{name}` runs no test"));
    }
    if PREPARATIONS.contains(&name) {
        return None;
    }
    let interpreter = INTERPRETERS.iter().find(|(interpreter, _)| *interpreter == name);
    if let Some((_, letters)) = interpreter {
        let takes_code = |word: &&String| {
            let is_cluster = word.starts_with('-') && !word.starts_with("--");
            matches!(word.as_str(), "--eval" | "--print" | "eval")
                || (is_cluster && word.contains(|l| letters.contains(l)))
        };
        let options = arguments.iter().take_while(|word| word.starts_with('-') || *word == "eval");
        if let Some((at, option)) = options.enumerate().find(|(_, word)| takes_code(word)) {
            let is_shell = *letters == "c" && name != "python";
            return match arguments.get(at + 1).filter(|_| is_shell) {
                Some(inner) => why_not_the_whole_suite(inner),
                None => Some(format!("`{name} {option}` runs code of its own")),
            };
        }
    }
    let module =
        (name == "python").then(|| arguments.iter().skip_while(|word| *word != "-m").nth(1)).flatten();
    let is_runner = match (interpreter, module) {
        (_, Some(module)) => {
            TASK_RUNNERS.contains(&plain_name(module)) || recognise(&words.join(" "), None).is_some()
        }
        (Some(_), None) => {
            arguments.iter().any(|word| !word.starts_with('-')) || recognise(&words.join(" "), None).is_some()
        }
        (None, None) => {
            TASK_RUNNERS.contains(&name)
                || program.contains('/')
                || recognise(&words.join(" "), None).is_some()
        }
    };
    if is_last && !is_runner {
        return Some(format!("`{name}` is no test runner that is known, and no script of the repository"));
    }
    why_not_all_tests(name, &words)
}

/// The words of a command from its program on, without assignments and what runs the program.
fn program_and_arguments(words: &[String]) -> Result<Vec<String>, String> {
    let mut rest = words;
    loop {
        while let Some((word, others)) = rest.split_first().filter(|(word, _)| is_assignment(word)) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let is_option = |part: &str| part.starts_with('-');
            if OPTION_VARIABLES.iter().any(|end| name.ends_with(end))
                && !matches!(name, "NODE_ENV" | "RAILS_ENV" | "APP_ENV")
                || value.split_whitespace().any(is_option)
            {
                return Err(format!("`{word}` gives options that nobody sees"));
            }
            rest = others;
        }
        let Some((program, others)) = rest.split_first() else {
            return Err("it sets variables and runs nothing".to_owned());
        };
        let name = plain_name(program);
        let found = LAUNCHERS.iter().find(|(launcher, between)| {
            *launcher == name
                && between.is_none_or(|between| others.first().is_some_and(|word| word == between))
        });
        let Some((_, between)) = found else { return Ok(rest.to_vec()) };
        let others = &others[usize::from(between.is_some())..];
        // `coverage run -m pytest` runs a module as Python does.
        if name == "coverage" {
            let python = std::iter::once("python".to_owned());
            return Ok(python.chain(others.iter().cloned()).collect());
        }
        // Options with their values, numbers and times.
        let is_number =
            |word: &str| word.trim_end_matches(['s', 'm', 'h']).chars().all(|digit| digit.is_ascii_digit());
        rest = others;
        while let Some((word, others)) =
            rest.split_first().filter(|(word, _)| word.starts_with('-') || is_number(word))
        {
            rest = match others.split_first().filter(|_| VALUE_OPTIONS.contains(&word.as_str())) {
                Some((_, others)) => others,
                None => others,
            };
        }
        if rest.is_empty() {
            return Err(format!("`{name}` runs nothing"));
        }
    }
}

/// Why the arguments of a runner leave tests out, or end the run early.
fn why_not_all_tests(name: &str, words: &[String]) -> Option<String> {
    let is_tool = |tool: &str| words.iter().any(|word| plain_name(word).contains(tool));
    // What stands before the tool's name belongs to another: `python -m pytest -m slow`.
    let from =
        |tool: &str| words.iter().position(|word| plain_name(word).contains(tool)).map_or(0, |at| at + 1);
    for (tool, letters) in LETTERS.iter().filter(|(tool, _)| is_tool(tool)) {
        let is_of = |word: &&String| {
            let letter = word.strip_prefix('-').and_then(|cluster| cluster.chars().next());
            letter.is_some_and(|letter| letters.contains(letter))
        };
        let long = |word: &&String| word.len() > 2 && LEAVES_OUT.contains(&word.trim_start_matches('-'));
        if let Some(word) = words.iter().skip(from(tool)).find(|word| is_of(word) && !long(word)) {
            return Some(format!(
                "`{word}` leaves tests out, hides failures, or ends the run at the first one"
            ));
        }
    }
    let selects = |word: &&String| {
        is_assignment(word)
            && word.split_once('=').is_some_and(|(name, _)| name.ends_with("TESTS") || name.ends_with("ARGS"))
    };
    if let Some(word) = words.iter().skip(1).find(selects) {
        return Some(format!("`{word}` chooses among the tests"));
    }
    // Their options choose among sessions and tasks, and `go test -x` prints.
    let chooses_tasks = matches!(name, "nox" | "tox" | "nx" | "turbo");
    for word in words.iter().skip(1).filter(|word| word.starts_with('-')) {
        let option = word.split_once('=').map_or(word.as_str(), |(option, _)| option).trim_start_matches('-');
        if option.len() > 1 && LEAVES_OUT.contains(&option) && !chooses_tasks {
            return Some(format!("`{word}` leaves tests out or hides failures"));
        }
        if STOPS_EARLY.contains(&option) {
            return Some(format!("`{word}` ends the run at its first failure"));
        }
    }
    None
}

/// A program's name without its directory, the extension of a script, and a version.
fn plain_name(word: &str) -> &str {
    let name = base_name(word).trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    if name.is_empty() { base_name(word) } else { name }
}

/// The words of a test command that can name a file which decides its result: those that name no known runner, each as it
/// is and below the directories that the command changes to.
pub fn files_of(command: &str) -> Vec<String> {
    let Some(line) = ShellLine::read(command) else { return Vec::new() };
    let mut files = Vec::new();
    let mut directory = String::new();
    for words in &line.commands {
        if let [first, to, ..] = words.as_slice()
            && first == "cd"
        {
            directory = format!("{directory}{}/", to.trim_end_matches('/'));
            continue;
        }
        for word in words.iter().filter(|word| !is_assignment(word) && !word.starts_with('-')) {
            if word.contains(char::is_whitespace) {
                files.extend(files_of(word));
            }
            let name = plain_name(word);
            let is_known = TASK_RUNNERS.contains(&name)
                || INTERPRETERS.iter().chain(&[("php", "")]).any(|(interpreter, _)| *interpreter == name);
            if !is_known {
                let word = word.trim_start_matches("./");
                files.extend([
                    word.to_owned(),
                    format!("{directory}{word}"),
                    format!("{directory}{word}.py"),
                ]);
            }
        }
    }
    files.sort_unstable();
    files.dedup();
    files
}

#[cfg(test)]
mod tests;
