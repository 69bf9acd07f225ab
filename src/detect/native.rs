//! Projects that are built before their tests run: CMake, Meson, autotools; and targets of make and just.

use super::{Candidate, RootListing};

/// CMake, Meson, autotools. The agent changes sources, so building is a part of the test command.
pub(super) fn build_system(root: &RootListing) -> Option<Candidate> {
    cmake(root).or_else(|| meson(root)).or_else(|| autotools(root))
}

/// A build directory that the repository does not have.
fn build_directory(root: &RootListing) -> &'static str {
    if root.has("build") { "_mendwright_build" } else { "build" }
}

fn cmake(root: &RootListing) -> Option<Candidate> {
    let text = root.text("CMakeLists.txt")?;
    let candidate = Candidate::new("C or C++", "CMakeLists.txt", &["ctest"]);
    let build = build_directory(root);
    let command =
        format!("cmake -S . -B {build} && cmake --build {build} && cd {build} && ctest --output-on-failure");
    let calls =
        ["enable_testing", "add_test", "include(ctest)", "catch_discover_tests", "gtest_discover_tests"];
    let sign = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(line).trim().to_ascii_lowercase().replace(' ', ""))
        .find_map(|line| calls.into_iter().find(|call| line.starts_with(call)));
    let off = options_for_tests(text);
    let candidate = match off.is_empty() {
        true => candidate,
        false => {
            let on: Vec<String> = off.iter().map(|name| format!("-D{name}=ON")).collect();
            let configured = format!("cmake -S . -B {build} {}", on.join(" "));
            let command = command.replace(&format!("cmake -S . -B {build}"), &configured);
            candidate.or_tested_by(command, "CMakeLists.txt, with the options for tests")
        }
    };
    Some(match sign {
        Some(call) => candidate.tested_by(command, format!("CMakeLists.txt; CTest because of {call}")),
        None => candidate.untested("CMakeLists.txt does not enable or add tests", command),
    })
}

/// Options for tests that are off by default: `option(BUILD_TESTING "…" OFF)`.
fn options_for_tests(text: &str) -> Vec<&str> {
    const OPTIONS_MAX: usize = 5;
    let off = text.lines().filter_map(|line| {
        let inside = line.trim().strip_prefix("option").map(str::trim_start)?.strip_prefix('(')?;
        let words = inside.split(')').next()?.trim();
        let name = words.split_whitespace().next()?;
        let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let is_off = words.to_ascii_uppercase().ends_with("OFF") || words.trim_end().ends_with('"');
        (is_plain && is_off && name.to_ascii_uppercase().contains("TEST")).then_some(name)
    });
    off.take(OPTIONS_MAX).collect()
}

fn meson(root: &RootListing) -> Option<Candidate> {
    let text = root.text("meson.build")?;
    let candidate = Candidate::new("C or C++", "meson.build", &["meson test", "ninja test"]);
    let build = build_directory(root);
    let command =
        format!("(test -d {build} || meson setup {build}) && meson test -C {build} --print-errorlogs");
    let tests_itself = text.lines().any(|line| line.trim_start().starts_with("test("));
    let has_directory = ["tests", "test"].iter().any(|name| root.has_file(&format!("{name}/meson.build")));
    Some(match tests_itself || has_directory {
        true => candidate.tested_by(command, "meson.build"),
        false => candidate.untested("neither meson.build nor one in tests adds a test", command),
    })
}

fn autotools(root: &RootListing) -> Option<Candidate> {
    let sign = root.first(&["configure.ac", "configure.in", "configure"])?;
    if root.first(MAKEFILES).is_some() {
        // The targets of make say more.
        return None;
    }
    let configure = match (root.has_file("configure"), root.first(&["autogen.sh"])) {
        (true, _) => "sh configure",
        (false, Some(_)) => "sh autogen.sh && sh configure",
        (false, None) => "autoreconf -fi && sh configure",
    };
    if !root.has_file("Makefile.am") && !root.has_file("Makefile.in") {
        return None;
    }
    let command = format!("(test -f Makefile || {{ {configure}; }}) && make check");
    Some(
        Candidate::new("C or C++", sign, &["make check"])
            .tested_by(command, format!("{sign}, and the target check of its Makefile")),
    )
}

/// The order in which GNU make looks for them.
const MAKEFILES: &[&str] = &["GNUmakefile", "makefile", "Makefile"];
const TARGETS: [&str; 4] = ["test", "check", "tests", "unittest"];

/// A target of make or just that runs tests.
pub(super) fn targets(root: &RootListing) -> Option<Candidate> {
    make(root).into_iter().chain(just(root)).reduce(|chosen, other| match (&chosen.test, &other.test) {
        (Ok(_), Ok(test)) => {
            let what = format!("`{}`", test.value);
            chosen.passing_over(what, format!("{} is also here", other.sign))
        }
        (Err(_), Ok(_)) => other,
        (_, Err(_)) => chosen,
    })
}

fn make(root: &RootListing) -> Option<Candidate> {
    let name = root.first(MAKEFILES)?;
    let candidate = Candidate::new("make", name, &["make test", "make check", "make tests"]);
    let text = root.text(name)?;
    Some(match TARGETS.into_iter().find(|target| has_target(text, target)) {
        Some(target) => {
            candidate.tested_by(format!("make {target}"), format!("the target {target} in {name}"))
        }
        None => candidate.untested("it has no target named test or check", "make all && ./run-tests"),
    })
}

/// Whether there is a rule such as `test: deps` or `all test::`. `test := value`, a variable of a target
/// (`test: FLAGS = x`), and lines of a definition or a recipe are not rules.
fn has_target(makefile: &str, target: &str) -> bool {
    let (mut continued, mut in_definition) = (false, false);
    makefile.lines().any(|line| {
        let is_continuation = std::mem::replace(&mut continued, line.ends_with('\\'));
        if line.starts_with("define ") {
            in_definition = true;
        } else if line.trim_end() == "endef" {
            in_definition = false;
        }
        if is_continuation || in_definition || line.starts_with(['\t', '#', ' ']) {
            return false;
        }
        let Some((targets, rest)) = line.split_once(':') else { return false };
        let rest = rest.trim_start_matches(':');
        let is_assignment =
            rest.starts_with('=') || is_variable(rest.split(['#', ';']).next().unwrap_or(rest));
        !is_assignment && !targets.contains('=') && targets.split_whitespace().any(|name| name == target)
    })
}

/// `FLAGS = x`, `FLAGS += x`, `FLAGS := x`.
fn is_variable(prerequisites: &str) -> bool {
    let Some((name, _)) = prerequisites.split_once('=') else { return false };
    let name = name.trim_end_matches(['+', ':', '?', '!']).trim();
    !name.is_empty() && name.split_whitespace().count() <= 2 && !name.contains(['$', '('])
}

fn just(root: &RootListing) -> Option<Candidate> {
    let name = root.first(&["justfile", "Justfile", ".justfile"])?;
    let text = root.text(name)?;
    let is_recipe = |line: &str, target: &str| {
        let rest = line.trim_start_matches('@').strip_prefix(target);
        let head = rest.and_then(|rest| rest.split_once(':')).filter(|(_, after)| !after.starts_with('='));
        // Parameters with defaults may come before the colon.
        head.is_some_and(|(parameters, _)| parameters.is_empty() || parameters.starts_with(' '))
    };
    let target = ["test", "check", "tests"]
        .into_iter()
        .find(|target| text.lines().any(|line| is_recipe(line, target)));
    let candidate = Candidate::new("just", name, &["just test"]);
    Some(match target {
        Some(target) => {
            candidate.tested_by(format!("just {target}"), format!("the recipe {target} in {name}"))
        }
        None => candidate.untested("it has no recipe named test or check", "just RECIPE"),
    })
}
