//! What a Python project requires: requirement files, tables of `pyproject.toml`, sections of `tox.ini` and
//! `setup.cfg`. Reads texts that it is given; knows no test runner.

use toml::{Table, Value};

/// The most requirements of one group in a command.
const REQUIREMENTS_MAX: usize = 40;
/// The deepest nesting of groups that include groups.
const INCLUDES_MAX: usize = 5;

/// Whether `requirement` requires the distribution `name`: `pytest>=8`, `pytest[x]`, and its plugins
/// (`pytest-cov`), which depend on it.
pub(super) fn asks_for(requirement: &str, name: &str) -> bool {
    let rest = requirement.trim().to_ascii_lowercase();
    rest.strip_prefix(name).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
}

/// The requirements in a requirement file, without comments and options.
pub(super) fn in_requirement_file(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split(" #").next().unwrap_or(line).trim())
        .filter(|line| !line.is_empty() && !line.starts_with(['#', '-']))
}

/// Where a pyproject.toml requires a distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequirementLocation {
    /// In `project.dependencies` or `tool.poetry.dependencies`.
    Always,
    /// In an extra.
    Extra(String),
    /// In a dependency group, with all requirements of the group.
    Group(String, Vec<String>),
    /// In a table of a tool, such as hatch's environments.
    Tool(String),
}

/// Where `project` requires `name`. The location that is easiest to install from takes precedence.
pub(super) fn location_of(project: &Table, name: &str) -> Option<RequirementLocation> {
    let listed = |value: &Value| {
        value
            .as_array()
            .is_some_and(|list| list.iter().filter_map(Value::as_str).any(|one| asks_for(one, name)))
    };
    if at(project, &["project", "dependencies"]).is_some_and(listed) {
        return Some(RequirementLocation::Always);
    }
    let extras = at(project, &["project", "optional-dependencies"]).and_then(Value::as_table);
    let asking = |extra: &&String| extras.and_then(|extras| extras.get(*extra)).is_some_and(listed);
    if let Some(extra) = extras.and_then(|extras| by_likelihood(extras).into_iter().find(asking)) {
        return Some(RequirementLocation::Extra(extra.clone()));
    }
    if let Some(groups) = project.get("dependency-groups").and_then(Value::as_table) {
        for group in by_likelihood(groups) {
            let all = group_requirements(groups, group, 0);
            if all.iter().any(|one| asks_for(one, name)) {
                return Some(RequirementLocation::Group(group.clone(), all));
            }
        }
    }
    let poetry = at(project, &["tool", "poetry"]).and_then(Value::as_table);
    let has_key = |table: Option<&Value>| {
        table.and_then(Value::as_table).is_some_and(|table| table.keys().any(|key| asks_for(key, name)))
    };
    if let Some(poetry) = poetry {
        if has_key(poetry.get("dependencies")) {
            return Some(RequirementLocation::Always);
        }
        if has_key(poetry.get("dev-dependencies")) {
            return Some(RequirementLocation::Group("dev".to_owned(), Vec::new()));
        }
        let groups = poetry.get("group").and_then(Value::as_table);
        let group =
            groups.and_then(|groups| groups.iter().find(|(_, group)| has_key(group.get("dependencies"))));
        if let Some((group, _)) = group {
            return Some(RequirementLocation::Group(group.clone(), Vec::new()));
        }
    }
    let tools = project.get("tool").and_then(Value::as_table)?;
    let others = tools.iter().filter(|(tool, _)| *tool != "poetry");
    others
        .into_iter()
        .find(|(_, value)| mentions(value, name, 0))
        .map(|(tool, _)| RequirementLocation::Tool(tool.clone()))
}

/// The dependency groups (PEP 735) with all their requirements.
pub(super) fn all_groups(project: &Table) -> Vec<(String, Vec<String>)> {
    let groups = project.get("dependency-groups").and_then(Value::as_table);
    let all = |groups: &Table| {
        let of = |name: &String| (name.clone(), group_requirements(groups, name, 0));
        by_likelihood(groups).into_iter().map(of).collect()
    };
    groups.map(all).unwrap_or_default()
}

/// The names of groups; those that sound like tests come first.
fn by_likelihood(groups: &Table) -> Vec<&String> {
    const LIKELY: [&str; 5] = ["test", "tests", "testing", "dev", "develop"];
    let mut names: Vec<&String> = groups.keys().collect();
    names.sort_by_key(|name| LIKELY.iter().position(|likely| likely == name).unwrap_or(LIKELY.len()));
    names
}

/// The value at a path of keys.
pub(super) fn at<'t>(table: &'t Table, keys: &[&str]) -> Option<&'t Value> {
    let (first, rest) = keys.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.as_table()?.get(*key))
}

fn group_requirements(groups: &Table, group: &str, depth: usize) -> Vec<String> {
    let mut all = Vec::new();
    if depth > INCLUDES_MAX {
        return all;
    }
    for item in groups.get(group).and_then(Value::as_array).into_iter().flatten() {
        match (item.as_str(), item.get("include-group").and_then(Value::as_str)) {
            (Some(requirement), _) => all.push(requirement.to_owned()),
            (None, Some(included)) => all.extend(group_requirements(groups, included, depth + 1)),
            (None, None) => {}
        }
        if all.len() >= REQUIREMENTS_MAX {
            break;
        }
    }
    all.truncate(REQUIREMENTS_MAX);
    all
}

/// Whether a list anywhere in `value` requires `name`.
fn mentions(value: &Value, name: &str, depth: usize) -> bool {
    const DEPTH_MAX: usize = 8;
    if depth > DEPTH_MAX {
        return false;
    }
    match value {
        Value::Array(list) => list.iter().any(|item| match item {
            Value::String(text) => asks_for(text, name),
            other => mentions(other, name, depth + 1),
        }),
        Value::Table(table) => table.iter().any(|(_, value)| mentions(value, name, depth + 1)),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            false
        }
    }
}

/// The lines of a value in an INI file: `key = value`, and the indented lines below it, without comments.
pub(super) fn ini_values<'t>(text: &'t str, section: &str, key: &str) -> Vec<&'t str> {
    let mut values = Vec::new();
    let (mut inside, mut reading) = (false, false);
    for line in text.lines() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            (inside, reading) = (name.trim() == section, false);
        } else if inside && line.starts_with([' ', '\t']) {
            if reading {
                values.push(bare);
            }
        } else if inside {
            let (name, value) = bare.split_once('=').unwrap_or((bare, ""));
            reading = name.trim() == key;
            if reading && !value.trim().is_empty() {
                values.push(value.trim());
            }
        }
    }
    values
}

/// Whether an INI file has a section.
pub(super) fn has_section(text: &str, section: &str) -> bool {
    let named =
        |line: &str| line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) == Some(section);
    text.lines().any(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Option<RequirementLocation> {
        location_of(&text.parse().unwrap(), "pytest")
    }

    #[test]
    fn requirement_is_distinguished_from_one_with_the_same_prefix() {
        for yes in [
            "pytest",
            "pytest>=8,<9",
            "pytest[testing]",
            "Pytest ~= 8",
            "pytest-cov",
            "pytest; python_version>'3'",
        ] {
            assert!(asks_for(yes, "pytest"), "{yes}");
        }
        for no in ["pytester", "py", "# pytest", "my-pytest"] {
            assert!(!asks_for(no, "pytest"), "{no}");
        }
        let file = "# pytest\n-r base.txt\n\nrequests  # pytest\npytest==8 # why\n";
        assert_eq!(in_requirement_file(file).collect::<Vec<_>>(), ["requests", "pytest==8"]);
    }

    #[test]
    fn every_location_in_a_pyproject_is_found() {
        assert_eq!(place("[project]\ndependencies=['pytest']"), Some(RequirementLocation::Always));
        assert_eq!(
            place("[project.optional-dependencies]\nlint=['ruff']\ntest=['pytest>8']"),
            Some(RequirementLocation::Extra("test".into()))
        );
        let groups = "[dependency-groups]\nall=['pytest']\nlint=['ruff']\ndev=[{include-group='all'}, 'x']";
        let all = vec!["pytest".to_owned(), "x".to_owned()];
        assert_eq!(place(groups), Some(RequirementLocation::Group("dev".into(), all)));
        assert_eq!(
            place("[tool.poetry.group.t.dependencies]\npytest='^8'"),
            Some(RequirementLocation::Group("t".into(), vec![]))
        );
        assert_eq!(
            place("[tool.hatch.envs.x]\ndependencies=['pytest']"),
            Some(RequirementLocation::Tool("hatch".into()))
        );
        assert_eq!(place("# pytest\n[project]\nname='pytest-free'\ndescription='pytest'"), None);
        assert_eq!(place("[dependency-groups]\na=[{include-group='b'}]\nb=[{include-group='a'}]"), None);
    }

    #[test]
    fn values_of_an_ini_file_are_read_over_several_lines() {
        let text = "[tox]\nenvlist = py\n[testenv]\ndeps =\n    pytest\n    # no\n    -r req.txt\ncommands = pytest {posargs}\n    coverage\n[other]\ndeps = x\n";
        assert_eq!(ini_values(text, "testenv", "deps"), ["pytest", "-r req.txt"]);
        assert_eq!(ini_values(text, "testenv", "commands"), ["pytest {posargs}", "coverage"]);
        assert!(has_section(text, "tox") && !has_section(text, "to"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[\\[\\]{}=\"'a-c# \t\n-]{0,120}") {
            let _ = ini_values(&text, "a", "b");
            let _ = in_requirement_file(&text).count();
            if let Ok(table) = text.parse::<Table>() {
                let _ = location_of(&table, "a");
            }
        }
    }
}
