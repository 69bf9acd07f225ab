//! Labels of the repository and of its issues, over REST.

use serde_json::Value;

use super::call::{Answer, Call, Outcome, Refusal};
use super::deeds::{add_label, remove_label};
use super::pages::page;
use super::shapes;
use super::world::Label;

/// GitHub's bound on an issue's labels.
const LABELS_OF_ISSUE_MAX: usize = 100;
/// GitHub's bound on a label's name.
const NAME_CHARACTERS_MAX: usize = 50;

pub(super) fn list(call: &mut Call<'_>) -> Outcome {
    let all = call.repo().labels.iter().map(|label| shapes::label(call.world, call.repo(), label)).collect();
    Ok(page(call, all))
}

pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    let name = call.required_text("Label", "name")?;
    let color = call.optional_text("Label", "color")?.unwrap_or_else(|| "ededed".to_owned());
    let description = call.optional_text("Label", "description")?;
    if color.len() != 6 || !color.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Refusal::invalid("Label", "color", "invalid"));
    }
    if name.chars().count() > NAME_CHARACTERS_MAX {
        return Err(Refusal::invalid("Label", "name", "invalid"));
    }
    if find(call, &name).is_some() {
        return Err(Refusal::invalid("Label", "name", "already_exists"));
    }
    let label = Label { id: call.world.next_id(), name, color, description };
    let shape = shapes::label(call.world, call.repo(), &label);
    call.repo_mut().labels.push(label);
    Ok(Answer::created(shape))
}

pub(super) fn get(call: &mut Call<'_>) -> Outcome {
    let label = find(call, call.parameter("name")).ok_or_else(Refusal::not_found)?;
    Ok(Answer::ok(shapes::label(call.world, call.repo(), label)))
}

pub(super) fn list_on_issue(call: &mut Call<'_>) -> Outcome {
    let all = on_issue(call)?;
    Ok(page(call, all))
}

pub(super) fn add(call: &mut Call<'_>) -> Outcome {
    let number = call.issue()?.number;
    let names = call.names("labels")?;
    if names.iter().any(|name| name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX) {
        return Err(Refusal::invalid("Label", "name", "invalid"));
    }
    if call.issue()?.labels.len() + names.len() > LABELS_OF_ISSUE_MAX {
        return Err(Refusal::custom("Issue", "an issue can have at most 100 labels"));
    }
    let (by, now, repository) = (call.login(), call.now, call.repository);
    for name in names {
        add_label(call.world, repository, number, &name, &by, now);
    }
    on_issue(call).map(|all| Answer::ok(Value::Array(all)))
}

pub(super) fn remove(call: &mut Call<'_>) -> Outcome {
    let number = call.issue()?.number;
    let name = call.parameter("name").to_owned();
    let (by, now, repository) = (call.login(), call.now, call.repository);
    match remove_label(call.world, repository, number, &name, &by, now) {
        true => on_issue(call).map(|all| Answer::ok(Value::Array(all))),
        false => Err(Refusal::new(404, "Label does not exist")),
    }
}

fn find<'a>(call: &'a Call<'_>, name: &str) -> Option<&'a Label> {
    call.repo().labels.iter().find(|label| label.name.eq_ignore_ascii_case(name))
}

fn on_issue(call: &Call<'_>) -> Result<Vec<Value>, Refusal> {
    let names = &call.issue()?.labels;
    let found = names.iter().filter_map(|name| find(call, name));
    Ok(found.map(|label| shapes::label(call.world, call.repo(), label)).collect())
}
