//! References over REST.

use serde_json::{Value, json};

use super::call::{Answer, Call, Outcome, Refusal};
use super::pages::page;
use super::pull_deeds::references_moved;
use super::shapes;
use crate::git::{RefUpdate, UpdateRefused};

const NOTHING: &str = "0000000000000000000000000000000000000000";

pub(super) fn get_ref(call: &mut Call<'_>) -> Outcome {
    let name = format!("refs/{}", call.parameter("ref"));
    let facts = call.repo().git.reference(&name)?.ok_or_else(Refusal::not_found)?;
    Ok(Answer::ok(shapes::git_ref(call.world, call.repo(), &facts)))
}

pub(super) fn matching_refs(call: &mut Call<'_>) -> Outcome {
    let prefix = format!("refs/{}", call.parameter("ref"));
    let found = call.repo().git.references(&prefix)?;
    let all: Vec<Value> = found.iter().map(|facts| shapes::git_ref(call.world, call.repo(), facts)).collect();
    Ok(page(call, all))
}

pub(super) fn create_ref(call: &mut Call<'_>) -> Outcome {
    let name = call.required_text("Reference", "ref")?;
    let sha = call.required_text("Reference", "sha")?;
    if name.matches('/').count() < 2 || !name.starts_with("refs/") {
        let message = "Reference name must start with 'refs' and have at least two slashes.";
        return Err(Refusal::new(422, message));
    }
    call.repo().git.create_reference(&name, &sha).map_err(refusal)?;
    moved(call, &name, NOTHING, &sha)?;
    answer(call, &name, Answer::created)
}

pub(super) fn update_ref(call: &mut Call<'_>) -> Outcome {
    let name = format!("refs/{}", call.parameter("ref"));
    let sha = call.required_text("Reference", "sha")?;
    let force = call.body["force"].as_bool().unwrap_or(false);
    let before = call.repo().git.reference(&name)?.map(|facts| facts.sha);
    call.repo().git.update_reference(&name, &sha, force).map_err(refusal)?;
    moved(call, &name, before.as_deref().unwrap_or(NOTHING), &sha)?;
    answer(call, &name, Answer::ok)
}

pub(super) fn delete_ref(call: &mut Call<'_>) -> Outcome {
    let name = format!("refs/{}", call.parameter("ref"));
    let before = call.repo().git.reference(&name)?.map(|facts| facts.sha);
    call.repo().git.delete_reference(&name).map_err(refusal)?;
    moved(call, &name, before.as_deref().unwrap_or(NOTHING), NOTHING)?;
    Ok(Answer::no_content())
}

fn answer(call: &Call<'_>, name: &str, with: fn(Value) -> Answer) -> Outcome {
    let facts = call.repo().git.reference(name)?.ok_or_else(Refusal::not_found)?;
    Ok(with(shapes::git_ref(call.world, call.repo(), &facts)))
}

fn moved(call: &mut Call<'_>, name: &str, before: &str, after: &str) -> Result<(), Refusal> {
    let update = RefUpdate { name: name.to_owned(), before: before.to_owned(), after: after.to_owned() };
    let (by, now, repository) = (call.login(), call.now, call.repository);
    Ok(references_moved(call.world, repository, &[update], &by, now)?)
}

fn refusal(error: UpdateRefused) -> Refusal {
    match error {
        UpdateRefused::Git(error) => {
            tracing::error!(%error, "the emulated repository failed");
            Refusal(Box::new(Answer::new(500, json!({"message": "Server Error"}))))
        }
        UpdateRefused::BadName => Refusal::new(422, "Reference name is invalid"),
        UpdateRefused::Exists
        | UpdateRefused::Missing
        | UpdateRefused::UnknownObject
        | UpdateRefused::NotFastForward => Refusal::new(422, &error.to_string()),
    }
}
