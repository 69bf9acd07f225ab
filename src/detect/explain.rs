//! Explains to people what was detected: what a job would use and why, what it would not use, which hosts
//! setup needs, and what to write into files. Decides nothing.

use std::fmt::{self, Write as _};

use crate::domain::{CommandPattern, JobSettings};

use super::{
    Detected, DetectedEnvironment, NothingDetected, Plan, ProposedHost, ProposedHosts, SkippedSource,
};

/// Everything that `mendwright detect` prints.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation<'e> {
    /// Which repository, at which commit.
    pub repository: &'e str,
    /// What was detected, with the repository file in its place.
    pub found: Result<&'e DetectedEnvironment, &'e NothingDetected>,
    /// Hosts that the operator may allow.
    pub hosts: &'e ProposedHosts,
    /// Hosts that the repository file asks for its agent.
    pub agent_hosts: &'e [String],
    /// Commands that the repository file allows its agent.
    pub commands: &'e [CommandPattern],
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.repository)?;
        let (image, setup, passed_over) = match self.found {
            Ok(found) => {
                writeln!(f, "Test command\n{}", with_source(&found.test))?;
                (&found.image, &found.setup, &found.passed_over)
            }
            Err(nothing) => {
                writeln!(f, "Test command\n  none\n")?;
                (&nothing.image, &nothing.setup, &nothing.passed_over)
            }
        };
        match image {
            Some(image) => writeln!(f, "Image\n{}", with_source(image))?,
            None => writeln!(f, "Image\n  none named; the operator's image is used\n")?,
        }
        if setup.is_empty() {
            writeln!(f, "Setup\n  no commands\n")?;
        } else {
            writeln!(f, "Setup (runs once, with network to allowed hosts only)")?;
            for command in setup {
                f.write_str(&with_source(command))?;
            }
            writeln!(f)?;
        }
        let alternatives = self.found.map_or(&[][..], |found| &found.alternatives);
        let in_words = |plan: &Plan| {
            let commands = plan.setup.iter().chain([&plan.test]);
            commands.map(|command| format!("`{}`", command.value)).collect::<Vec<_>>().join(", then ")
        };
        list(f, "Tried next, if these show no passing tests", alternatives.iter().map(in_words))?;
        list(f, "Not used", passed_over.iter().map(|SkippedSource { what, why }| format!("{what}: {why}")))?;
        let notes = self.found.map_or(&[][..], |found| &found.notes);
        list(f, "Notes", notes.iter().cloned())?;
        if !setup.is_empty() {
            self.write_hosts(f)?;
        }
        if !self.agent_hosts.is_empty() {
            let hosts = self.agent_hosts.iter().cloned();
            list(f, "Hosts that the repository asks for while the agent works and the tests run", hosts)?;
        }
        let commands = self.commands.iter().map(|pattern| format!("`{pattern}`"));
        list(f, "Commands that the agent may run, if the operator allows it", commands)?;
        match self.found {
            Ok(found) => {
                writeln!(f, "The same as a .github/agent-fix.yml\n")?;
                f.write_str(&indented(&repository_file_for(found)))
            }
            Err(nothing) => write!(f, "{nothing}"),
        }
    }
}

impl Explanation<'_> {
    fn write_hosts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProposedHosts { hosts, not_needed, unusable, unnamed } = self.hosts;
        let named = |named: &ProposedHost| format!("{}, named by {}", named.host, named.named_by.join(", "));
        if hosts.is_empty() {
            writeln!(f, "Hosts that setup needs\n  no file and no variable names one\n")?;
        }
        list(f, "Hosts that setup needs", hosts.iter().map(named))?;
        list(f, "Hosts to look up", unnamed.iter().cloned())?;
        list(f, "Hosts of tools that this setup does not use", not_needed.iter().map(named))?;
        let unusable = unusable.iter().map(|SkippedSource { what, why }| format!("{what}: {why}"));
        list(f, "Addresses that cannot be used", unusable)?;
        if !hosts.is_empty() {
            writeln!(
                f,
                "For the operator to allow, in mendwright.toml\n\n{}",
                indented(&self.hosts.as_toml())
            )?;
        }
        Ok(())
    }
}

impl ProposedHosts {
    /// What an operator writes to allow all of them.
    pub fn as_toml(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(|named| format!("{:?}", named.host)).collect();
        format!("[sandbox]\nallowed_hosts = [{}]\n", hosts.join(", "))
    }
}

fn with_source(found: &Detected<String>) -> String {
    format!("{}    from {}\n", indented(&found.value), found.source)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}

fn list(f: &mut fmt::Formatter<'_>, heading: &str, items: impl Iterator<Item = String>) -> fmt::Result {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return Ok(());
    }
    writeln!(f, "{heading}")?;
    for item in items {
        writeln!(f, "  - {}", item.replace('\n', "\n    "))?;
    }
    writeln!(f)
}

/// The `.github/agent-fix.yml` that says what was detected.
pub fn repository_file_for(found: &DetectedEnvironment) -> String {
    let mut text = format!("test: {}\n", yaml_text(&found.test.value));
    if let Some(image) = &found.image {
        let _ = writeln!(text, "image: {}", yaml_text(&image.value));
    }
    if !found.setup.is_empty() {
        text.push_str("setup:\n");
        for command in &found.setup {
            let _ = writeln!(text, "  - {}", yaml_text(&command.value));
        }
    }
    text
}

/// The `.github/agent-fix.yml` with the commands of `settings`.
pub fn repository_file_of(settings: &JobSettings) -> String {
    let detected = |value: &String| Detected::new(value.clone(), "");
    repository_file_for(&DetectedEnvironment {
        image: settings.image.as_ref().map(detected),
        setup: settings.setup_commands.iter().map(detected).collect(),
        test: detected(&settings.test_command),
        alternatives: Vec::new(),
        passed_over: Vec::new(),
        notes: Vec::new(),
    })
}

/// The text without quotes if YAML reads the same text, else in double quotes.
fn yaml_text(text: &str) -> String {
    let begins_path = text.starts_with('.') && text.contains('/');
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic()) || begins_path;
    let harmless = |c: char| c.is_ascii_alphanumeric() || " -_./=@+:\"'$&;()|".contains(c);
    let is_key = text.contains(": ") || text.ends_with(':');
    let means_other = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_word = means_other.contains(&text.to_ascii_lowercase().as_str());
    if starts_well && text.chars().all(harmless) && !is_word && !is_key && !text.ends_with(' ') {
        return text.to_owned();
    }
    // A JSON string is a YAML string.
    serde_json::Value::from(text).to_string()
}

/// The explanation if no test command was detected; escalations contain it too.
pub(super) fn explain_nothing_detected(nothing: &NothingDetected) -> String {
    let mut text = String::from("no test command was detected for this repository.\n\n");
    for untested in &nothing.recognised {
        let _ = writeln!(text, "{} is here ({}), but {}.", untested.language, untested.sign, untested.why);
    }
    if !nothing.recognised.is_empty() {
        text.push('\n');
    }
    text.push_str(
        "Detection looks at the root of the repository for Cargo.toml, go.mod, pom.xml and Gradle files, .NET solutions, \
         mix.exs, composer.json, Gemfile and spec/, Python's pyproject.toml, tox.ini and test files, \
         package.json with a test script, Perl's t/, CMake, Meson and autotools, a Makefile or justfile with a \
         target test or check; and for a job that tests in .github/workflows.\n",
    );
    let workflows = nothing.passed_over.iter().filter(|one| one.what.contains(".github/workflows"));
    for SkippedSource { what, why } in workflows.take(WORKFLOWS_SHOWN_MAX) {
        let _ = writeln!(text, "Not used: {what}, because {why}.");
    }
    let example =
        nothing.recognised.iter().map(|untested| untested.example.as_str()).find(|text| !text.is_empty());
    let example = yaml_text(example.unwrap_or("./run-tests.sh"));
    let _ = write!(
        text,
        "\nWrite the test command into .github/agent-fix.yml on the default branch, and what it needs installed, for \
         example:\n\ntest: {example}\n"
    );
    let setup: Vec<String> =
        nothing.setup.iter().map(|command| format!("  - {}\n", yaml_text(&command.value))).collect();
    if !setup.is_empty() {
        let _ = write!(text, "setup:\n{}", setup.concat());
    }
    text.truncate(text.trim_end().len());
    text
}

/// An escalation is read by people.
const WORKFLOWS_SHOWN_MAX: usize = 5;
