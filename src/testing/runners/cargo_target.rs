//! Which of cargo's targets a path of tests belongs to, for `cargo test` and nextest.

/// The tests of a file or directory, as cargo is told to run them.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    /// The directory of the package, without `/` at its end. Empty: the root.
    package: String,
    /// Options that name the target.
    options: Vec<String>,
    /// The module in it, as the names of its tests begin.
    module: Option<String>,
}

const ACCEPTED: &str = "cargo takes files below `tests/` and `src/` of a package. Otherwise give the test's name, for \
                        instance `module::tests`.";

impl Target {
    fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let at = parts.iter().position(|part| matches!(*part, "tests" | "src"))?;
        let (package, within) = (parts[..at].join("/"), &parts[at + 1..]);
        let new = |options: &[&str], module: Option<String>| {
            let options = options.iter().map(|word| (*word).to_owned()).collect();
            Some(Self { package: package.clone(), options, module })
        };
        match (parts[at], within) {
            ("tests", []) => new(&["--test", "*"], None),
            ("tests", [name]) => new(&["--test", name.strip_suffix(".rs").unwrap_or(name)], None),
            ("tests", [name, rest @ ..]) => new(&["--test", name], module(rest)),
            (_, [] | ["lib.rs"]) => new(&["--lib"], None),
            (_, ["main.rs"]) => new(&["--bins"], None),
            (_, ["bin", name, ..]) => new(&["--bin", name.strip_suffix(".rs").unwrap_or(name)], None),
            (_, rest) => new(&[], module(rest)),
        }
    }
}

/// The module of a file, from the parts of its path below the target's root file.
fn module(parts: &[&str]) -> Option<String> {
    let (last, before) = parts.split_last()?;
    let own = match last.strip_suffix(".rs").unwrap_or(last) {
        "mod" | "main" | "lib" => None,
        name => Some(name),
    };
    let names: Vec<&str> = before.iter().copied().chain(own).collect();
    (!names.is_empty()).then(|| format!("{}::", names.join("::")))
}

/// The arguments for the tests of a file, or of a name, or both.
pub(super) fn select(path: Option<&str>, name: Option<&str>) -> Option<Result<Vec<String>, String>> {
    let name = name.map(str::to_owned);
    let Some(path) = path else { return name.map(|name| Ok(vec![name])) };
    let Some(target) = Target::of(path) else { return Some(Err(ACCEPTED.to_owned())) };
    let mut arguments = Vec::new();
    if !target.package.is_empty() {
        arguments.extend(["--manifest-path".to_owned(), format!("{}/Cargo.toml", target.package)]);
    }
    arguments.extend(target.options);
    arguments.extend(name.or(target.module));
    Some(Ok(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_a_test_is_translated_to_its_target() {
        let words = |path: &str| match select(Some(path), None).unwrap() {
            Ok(words) => words.join(" "),
            Err(_) => "refused".to_owned(),
        };
        let cases = [
            ("tests/a.rs", "--test a"),
            ("tests/it/main.rs", "--test it"),
            ("tests/it/parse/names.rs", "--test it parse::names::"),
            ("tests", "--test *"),
            ("crates/core/tests/a.rs", "--manifest-path crates/core/Cargo.toml --test a"),
            ("crates/core/src/parse/mod.rs", "--manifest-path crates/core/Cargo.toml parse::"),
            ("src/lib.rs", "--lib"),
            ("src/main.rs", "--bins"),
            ("src/bin/tool.rs", "--bin tool"),
            ("src/parse.rs", "parse::"),
            ("Cargo.toml", "refused"),
        ];
        for (path, expected) in cases {
            assert_eq!(words(path), expected, "{path}");
        }
        assert_eq!(select(Some("src/a.rs"), Some("a::b")).unwrap().unwrap(), ["a::b"]);
    }
}
