//! Devcontainers: the image and the commands that prepare it. Builds no image, and never uses
//! `initializeCommand`, which is for a developer's own machine.

use serde_json::Value;

use super::shell_quoting::quoted;
use super::{Detected, RootListing, SkippedSource, jsonc};
use crate::domain::is_image_reference;

/// Commands that prepare the container, in the order in which they run.
const COMMANDS: [&str; 3] = ["onCreateCommand", "updateContentCommand", "postCreateCommand"];
const SETUP_MAX: usize = 20;

/// What a devcontainer says.
#[derive(Debug, Default)]
pub(super) struct Container {
    pub(super) image: Option<Detected<String>>,
    pub(super) setup: Vec<Detected<String>>,
    pub(super) passed_over: Vec<SkippedSource>,
}

/// The repository's devcontainer, if it has one.
pub(super) fn detect(root: &RootListing) -> Container {
    let mut container = Container::default();
    let mut places: Vec<&str> = Vec::new();
    places.extend(root.first(&[".devcontainer/devcontainer.json"]));
    places.extend(root.first(&[".devcontainer.json"]));
    places.extend(root.files().filter(|path| {
        path.starts_with(".devcontainer/")
            && path.matches('/').count() == 2
            && path.ends_with("/devcontainer.json")
    }));
    let Some((file, others)) = places.split_first() else { return container };
    for other in others {
        container.passed_over.push(SkippedSource::new(*other, format!("{file} comes first")));
    }
    let Some(Value::Object(given)) = root.text(file).and_then(jsonc::parse) else {
        container.passed_over.push(SkippedSource::new(*file, "it cannot be read as JSON with comments"));
        return container;
    };
    container.image(root, file, &given);
    for key in COMMANDS {
        let Some(value) = given.get(key) else { continue };
        for command in commands(value) {
            if command.contains("${") && mentions_devcontainer_variable(&command) {
                let why = "it needs a variable of the devcontainer";
                container.passed_over.push(SkippedSource::new(format!("`{command}` ({file})"), why));
            } else if container.setup.len() < SETUP_MAX {
                container.setup.push(Detected::new(command, format!("{key} in {file}")));
            }
        }
    }
    let unused = [
        ("features", "features are not installed; use an image that contains what they install"),
        ("initializeCommand", "it is for a developer's own machine, and is never run"),
        ("postStartCommand", "nothing runs besides the tests"),
        ("dockerComposeFile", "only one container is started"),
    ];
    for (key, why) in unused {
        if given.get(key).is_some_and(|value| !matches!(value, Value::Object(map) if map.is_empty())) {
            container.passed_over.push(SkippedSource::new(format!("{key} in {file}"), why));
        }
    }
    container
}

impl Container {
    fn image(&mut self, root: &RootListing, file: &str, given: &serde_json::Map<String, Value>) {
        if let Some(image) = given.get("image").and_then(Value::as_str) {
            if is_image_reference(image) {
                self.image = Some(Detected::new(image, format!("image in {file}")));
            } else {
                let shown: String = image.chars().take(120).collect();
                let what = format!("image {shown:?} in {file}");
                self.passed_over.push(SkippedSource::new(what, "it is not an image reference"));
            }
            return;
        }
        let build = given.get("build");
        let dockerfile = build.and_then(|build| build.get("dockerfile")).or_else(|| given.get("dockerFile"));
        let Some(dockerfile) = dockerfile.and_then(Value::as_str) else { return };
        let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
        let path = joined(directory, dockerfile);
        let from = path.as_deref().and_then(|path| root.text(path)).and_then(last_from);
        let why = match from {
            Some(from) => {
                format!("images are not built; its base image `{from}` may be set as `image:`")
            }
            None => "images are not built; set `image:` to one that contains what it installs".to_owned(),
        };
        self.passed_over.push(SkippedSource::new(format!("{dockerfile} of {file}"), why));
    }
}

/// A path within the repository; `None` if it leads out of it.
fn joined(directory: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The base image of a Dockerfile's last stage; `None` if it is a variable or an earlier stage.
fn last_from(dockerfile: &str) -> Option<&str> {
    let from = |line: &'_ str| -> Option<Vec<String>> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        words.first().is_some_and(|word| word.eq_ignore_ascii_case("from")).then_some(words)
    };
    let last = dockerfile.lines().rev().find(|line| from(line).is_some())?;
    let image = last.split_whitespace().skip(1).find(|word| !word.starts_with("--"))?;
    let is_stage = dockerfile.lines().filter_map(from).any(|words| {
        words
            .iter()
            .position(|word| word.eq_ignore_ascii_case("as"))
            .and_then(|at| words.get(at + 1))
            .is_some_and(|name| name == image)
    });
    (is_image_reference(image) && !is_stage).then_some(image)
}

/// The commands of a value: one as text, one as a list of words, or several by name.
fn commands(value: &Value) -> Vec<String> {
    let command = match value {
        Value::String(command) => command.trim().to_owned(),
        Value::Array(words) => {
            let words: Option<Vec<String>> = words.iter().map(|word| word.as_str().map(quoted)).collect();
            words.unwrap_or_default().join(" ")
        }
        Value::Object(named) => {
            return named.values().filter(|value| !value.is_object()).flat_map(commands).collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    };
    if command.is_empty() || command.contains('\0') { Vec::new() } else { vec![command] }
}

fn mentions_devcontainer_variable(command: &str) -> bool {
    [
        "${localEnv:",
        "${containerEnv:",
        "${localWorkspaceFolder",
        "${containerWorkspaceFolder",
        "${devcontainerId",
    ]
    .iter()
    .any(|variable| command.contains(variable))
}
