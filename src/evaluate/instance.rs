//! Reads instances from a file, and validates them before anything runs.

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::Sha;

/// Larger files are refused; SWE-bench's own has 40 MB.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Most instances in a file.
const INSTANCES_MAX: usize = 100_000;
/// Most mistakes that are listed; the rest is counted.
const MISTAKES_SHOWN_MAX: usize = 20;
/// Longest id: it names a directory.
const ID_BYTES_MAX: usize = 120;

/// An issue with known tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// Its id, unique in its file.
    pub instance_id: String,
    /// Which repository: `owner/name`, a path, or an address.
    pub repo: String,
    /// The commit to start from.
    pub base_commit: Sha,
    /// The issue; its first line is the title.
    pub problem_statement: String,
    /// The tests, as a unified diff against the base. The model never sees it.
    pub test_patch: String,
    /// Tests that fail on the base and pass once the issue is solved.
    #[serde(rename = "FAIL_TO_PASS")]
    pub fail_to_pass: Vec<String>,
    /// Tests that pass on the base and must still pass.
    #[serde(rename = "PASS_TO_PASS")]
    pub pass_to_pass: Vec<String>,
}

/// A file of instances with mistakes; nothing was run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {} and nothing is run before all is right:\n  {}", counted(mistakes.len() + more), mistakes.join("\n  "))]
pub struct InvalidInstances {
    /// Which file.
    pub file: String,
    /// The first of them: line, field, what is wrong.
    pub mistakes: Vec<String>,
    /// How many more.
    pub more: usize,
}

fn counted(mistakes: usize) -> String {
    if mistakes == 1 { "one mistake,".to_owned() } else { format!("{mistakes} mistakes,") }
}

/// Reads a file of instances, one per line. Empty lines are skipped.
///
/// # Errors
/// A line is invalid; each mistake is named by line and field.
pub fn read_instances(file: &Path) -> Result<Vec<Instance>, InvalidInstances> {
    let invalid = |mistakes: Vec<String>| {
        let more = mistakes.len().saturating_sub(MISTAKES_SHOWN_MAX);
        let mistakes = mistakes.into_iter().take(MISTAKES_SHOWN_MAX).collect();
        InvalidInstances { file: file.display().to_string(), mistakes, more }
    };
    let text = std::fs::metadata(file)
        .map_err(|error| error.to_string())
        .and_then(|metadata| match metadata.len() {
            bytes if bytes > FILE_BYTES_MAX => {
                Err(format!("it has {bytes} bytes; at most {FILE_BYTES_MAX} are read"))
            }
            _ => std::fs::read_to_string(file).map_err(|error| error.to_string()),
        })
        .map_err(|why| invalid(vec![why]))?;
    let (instances, mistakes) = parse(&text);
    match mistakes.is_empty() {
        true => Ok(instances),
        false => Err(invalid(mistakes)),
    }
}

fn parse(text: &str) -> (Vec<Instance>, Vec<String>) {
    let (mut instances, mut mistakes) = (Vec::new(), Vec::new());
    let mut ids = HashSet::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = index + 1;
        match instance(line) {
            Ok(instance) if !ids.insert(instance.instance_id.clone()) => {
                mistakes.push(format!("line {number}: instance_id: {} is there twice", instance.instance_id));
            }
            Ok(instance) => instances.push(instance),
            Err(why) => mistakes.push(format!("line {number}: {why}")),
        }
        if instances.len() > INSTANCES_MAX {
            mistakes.push(format!("line {number}: there are more than {INSTANCES_MAX} instances"));
            break;
        }
    }
    if instances.is_empty() && mistakes.is_empty() {
        mistakes.push("there is no instance in it".to_owned());
    }
    (instances, mistakes)
}

/// Parses one line. The error names the field.
fn instance(line: &str) -> Result<Instance, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("it is not JSON: {error}"))?;
    if !value.is_object() {
        return Err("it is not a JSON object".to_owned());
    }
    let text = |field: &str| match &value[field] {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Err(format!("{field}: it is missing")),
        _ => Err(format!("{field}: it has to be text")),
    };
    let filled = |field: &str| {
        text(field).and_then(|text| match text.trim().is_empty() {
            true => Err(format!("{field}: it is empty")),
            false => Ok(text),
        })
    };
    let base_commit = filled("base_commit")?;
    let fail_to_pass = names(&value, "FAIL_TO_PASS")?;
    if fail_to_pass.is_empty() {
        return Err("FAIL_TO_PASS: it is empty, so there is nothing to judge by".to_owned());
    }
    Ok(Instance {
        instance_id: id(filled("instance_id")?)?,
        repo: filled("repo")?,
        base_commit: base_commit
            .parse()
            .map_err(|_| format!("base_commit: {base_commit:?} is not 40 lower-case hexadecimal digits"))?,
        problem_statement: filled("problem_statement")?,
        test_patch: text("test_patch")?,
        fail_to_pass,
        pass_to_pass: names(&value, "PASS_TO_PASS")?,
    })
}

fn id(id: String) -> Result<String, String> {
    let is_shaped = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let names_a_directory = is_shaped && !id.starts_with('.') && id.len() <= ID_BYTES_MAX;
    match names_a_directory {
        true => Ok(id),
        false => Err(format!(
            "instance_id: {id:?} is not 1 to {ID_BYTES_MAX} letters, digits, '.', '_' and '-' (no '.' first)"
        )),
    }
}

/// A list of names, or one that is written as JSON in a string.
fn names(value: &Value, field: &str) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        List(Vec<String>),
        Text(String),
    }
    let wrong = || format!("{field}: it has to be a list of names, or such a list as JSON in a string");
    match serde_json::from_value(value[field].clone()) {
        Ok(Names::List(names)) => Ok(names),
        Ok(Names::Text(text)) => serde_json::from_str(&text).map_err(|_| wrong()),
        Err(_) if value[field].is_null() => Err(format!("{field}: it is missing")),
        Err(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({
            "instance_id": "octo__widgets-7", "repo": "octo/widgets", "base_commit": "a".repeat(40),
            "problem_statement": "It is broken.\n\nVery.", "test_patch": "", "patch": "not looked at",
            "FAIL_TO_PASS": ["tests/test_a.py::test_a"], "PASS_TO_PASS": "[\"tests/test_a.py::test_b\", \"c\"]"
        })
    }

    #[test]
    fn both_ways_of_writing_a_list_of_names_are_read() {
        let (instances, mistakes) = parse(&format!("{}\n\n", good()));
        assert_eq!(mistakes, [""; 0]);
        assert_eq!(instances[0].fail_to_pass, ["tests/test_a.py::test_a"]);
        assert_eq!(instances[0].pass_to_pass, ["tests/test_a.py::test_b", "c"]);
    }

    #[test]
    fn each_mistake_is_named_by_line_and_field() {
        let with = |field: &str, to: Value| {
            let mut value = good();
            value["instance_id"] = json!(format!("x-{field}"));
            value[field] = to;
            value.to_string()
        };
        let lines = [
            good().to_string(),
            "{".to_owned(),
            "[]".to_owned(),
            good().to_string(),
            with("instance_id", json!("../x")),
            with("repo", json!(7)),
            with("base_commit", json!("main")),
            with("problem_statement", json!(" ")),
            with("test_patch", Value::Null),
            with("FAIL_TO_PASS", json!([])),
            with("PASS_TO_PASS", json!("a, b")),
            with("PASS_TO_PASS", Value::Null),
        ];
        let (_, mistakes) = parse(&lines.join("\n"));
        insta::assert_snapshot!(mistakes.join("\n"), @r#"
        line 2: it is not JSON: EOF while parsing an object at line 1 column 1
        line 3: it is not a JSON object
        line 4: instance_id: octo__widgets-7 is there twice
        line 5: instance_id: "../x" is not 1 to 120 letters, digits, '.', '_' and '-' (no '.' first)
        line 6: repo: it has to be text
        line 7: base_commit: "main" is not 40 lower-case hexadecimal digits
        line 8: problem_statement: it is empty
        line 9: test_patch: it is missing
        line 10: FAIL_TO_PASS: it is empty, so there is nothing to judge by
        line 11: PASS_TO_PASS: it has to be a list of names, or such a list as JSON in a string
        line 12: PASS_TO_PASS: it is missing
        "#);
        assert_eq!(parse("\n").1, ["there is no instance in it"]);
    }
}
