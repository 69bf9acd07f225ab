//! A part of the suite, and the arguments that make a runner run it alone.

use super::recognition::Recognised;
use crate::domain::RepoPath;

/// A part of the suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Tests of this file, or below this directory.
    pub path: Option<RepoPath>,
    /// The test of this name, as reports name it, or a part of its name.
    pub name: Option<String>,
}

impl Selection {
    /// For people and the model.
    pub fn describe(&self) -> String {
        match (&self.path, &self.name) {
            (Some(path), Some(name)) => format!("{name} in {path}"),
            (Some(path), None) => path.to_string(),
            (None, Some(name)) => name.clone(),
            (None, None) => "nothing".to_owned(),
        }
    }

    /// The arguments that make the runner run this only. `Err`: it cannot, and why, for the model.
    pub(super) fn arguments(&self, recognised: &Recognised) -> Result<Vec<String>, String> {
        let Recognised { runner, invocation } = recognised;
        if !invocation.takes_arguments {
            return Err("The test command is not one that takes a selection at its end.".to_owned());
        }
        let name = self.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let path = self.path.as_ref().map(RepoPath::as_str);
        if name.is_some_and(|name| name.starts_with('-') || name.contains(['\0', '\n']) || name.len() > 1_000)
        {
            return Err("That is not a test's name.".to_owned());
        }
        if path.is_none() && name.is_none() {
            return Err("Give a path, a name, or neither for the whole suite.".to_owned());
        }
        let row = runner.row();
        (row.select)(invocation, path, name).unwrap_or_else(|| {
            let (what, instead) = match path {
                Some(_) => ("path", "Give a name, or neither for the whole suite."),
                None => ("name", "Run the whole suite."),
            };
            Err(format!("{}, as it is called here, does not take a {what}. {instead}", row.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::recognition::recognise;
    use super::*;

    #[test]
    fn selection_is_translated_for_each_runner() {
        let told = |command: &str, path: Option<&str>, name: Option<&str>| {
            let selection =
                Selection { path: path.map(|path| path.parse().unwrap()), name: name.map(str::to_owned) };
            let arguments = selection.arguments(&recognise(command, None).unwrap());
            arguments.map_or_else(|why| format!("! {why}"), |arguments| arguments.join(" "))
        };
        let lines = [
            told("pytest", None, Some("tests/test_a.py::A::test_b[c d]")),
            told("pytest", Some("tests/test_a.py"), Some("A::test_b[c]")),
            told("pytest", None, Some("a or b")),
            told("cargo test", None, Some("parse::tests::empty")),
            told("cargo test", Some("tests/it/main.rs"), Some("a")),
            told("cargo test", Some("src/lib.rs"), None),
            told("cargo nextest run", None, Some("sample::more is_right")),
            told("go test ./...", None, Some("example.org/a/b::TestTable/B case")),
            told("node --test", None, Some("division > by zero")),
            told("node --test dir", None, Some("division > by zero")),
            told("jest", Some("a.test.js"), Some("a.test.js > sum > a+b")),
            told("vitest run", None, Some("a.test.js > adds")),
            told("rspec", Some("spec/a_spec.rb"), None),
            told("phpunit", None, Some("ATest::testB with data set #0")),
            told("ctest", None, Some("is wrong")),
            told("python -m unittest", None, Some("test_a (m.A.test_a)")),
            told("python -m unittest discover -v", None, Some("test_a (m.A.test_a)")),
            told("mvn test", None, Some("org.example.ATest.adds")),
            told("gradle test", None, Some("ATest.adds")),
            told("cd sub && pytest", None, Some("a")),
            told("pytest", None, None),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        tests/test_a.py::A::test_b[c d]
        tests/test_a.py -k test_b
        ! Name a test function, or give the whole name as the report has it.
        parse::tests::empty
        --test it a
        ! cargo takes files directly below `tests/` only. For unit tests give the name, for instance `module::tests`.
        is_right
        -run ^TestTable$/^B case$
        --test-name-pattern by zero
        ! node --test, as it is called here, does not take a name. Run the whole suite.
        -t a\+b --runTestsByPath a.test.js
        -t adds
        spec/a_spec.rb
        --filter ATest::testB\b
        -R ^is wrong$
        m.A.test_a
        ! unittest, as it is called here, does not take a name. Run the whole suite.
        -Dtest=org.example.ATest#adds -DfailIfNoTests=false
        --tests ATest.adds
        ! The test command is not one that takes a selection at its end.
        ! Give a path, a name, or neither for the whole suite.
        ");
    }
}
