//! Comments on issues and pull requests, over REST.

use serde_json::Value;

use super::call::{Answer, Call, Outcome, Refusal};
use super::deeds::{add_comment, delete_comment, edit_comment};
use super::pages::page;
use super::shapes;

pub(super) fn list(call: &mut Call<'_>) -> Outcome {
    let issue = call.issue()?;
    let since = call.query("since").and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let all = issue
        .comments
        .iter()
        .filter(|comment| since.is_none_or(|since| comment.updated_at >= since))
        .map(|comment| shapes::comment(call.world, call.repo(), issue, comment))
        .collect();
    Ok(page(call, all))
}

pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    let issue = call.issue()?;
    let (number, locked) = (issue.number, issue.locked);
    let body = call.required_text("IssueComment", "body")?;
    if locked {
        return Err(Refusal::new(403, "Unable to create comment because issue is locked."));
    }
    let (by, now, repository) = (call.login(), call.now, call.repository);
    let id = add_comment(call.world, repository, number, body, &by, now).ok_or_else(Refusal::not_found)?;
    show(call, id).map(Answer::created)
}

pub(super) fn get(call: &mut Call<'_>) -> Outcome {
    let id = call.number("comment_id")?;
    show(call, id).map(Answer::ok)
}

pub(super) fn update(call: &mut Call<'_>) -> Outcome {
    let id = existing_comment(call)?;
    let body = call.required_text("IssueComment", "body")?;
    let (by, now, repository) = (call.login(), call.now, call.repository);
    edit_comment(call.world, repository, id, body, &by, now);
    show(call, id).map(Answer::ok)
}

pub(super) fn delete(call: &mut Call<'_>) -> Outcome {
    let id = existing_comment(call)?;
    let (by, now, repository) = (call.login(), call.now, call.repository);
    delete_comment(call.world, repository, id, &by, now);
    Ok(Answer::no_content())
}

/// The comment in the path. An App that may write may change anybody's, on GitHub too.
fn existing_comment(call: &Call<'_>) -> Result<u64, Refusal> {
    let id = call.number("comment_id")?;
    call.repo().comment_place(id).map(|_| id).ok_or_else(Refusal::not_found)
}

fn show(call: &Call<'_>, id: u64) -> Result<Value, Refusal> {
    let (number, index) = call.repo().comment_place(id).ok_or_else(Refusal::not_found)?;
    let issue = &call.repo().issues[&number];
    Ok(shapes::comment(call.world, call.repo(), issue, &issue.comments[index]))
}
