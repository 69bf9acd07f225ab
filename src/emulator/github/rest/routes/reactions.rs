//! Reactions to issues and comments. Each account has at most one of a kind.

use jiff::Timestamp;

use crate::github::data::{REACTIONS, Reaction};
use crate::github::rest::call::ApiCall;
use crate::github::rest::pagination::page;
use crate::github::rest::response::{ApiError, ApiResponse, ApiResult};
use crate::github::shapes;

pub(crate) fn list(call: &mut ApiCall<'_>) -> ApiResult {
    let content = call.query("content");
    let reactions = call.issue()?.reactions.iter();
    let listed = reactions.filter(|reaction| content.is_none_or(|content| reaction.content == content));
    let all = listed.map(|reaction| shapes::reaction(call.db, reaction)).collect();
    Ok(page(call, all))
}

pub(crate) fn create(call: &mut ApiCall<'_>) -> ApiResult {
    let number = call.issue()?.number;
    let content = content(call)?;
    let (id, by, now) = (call.db.next_id(), call.login.clone(), call.now);
    let issue = call.repo_mut().issues.get_mut(&number).ok_or_else(ApiError::not_found)?;
    let (reaction, new) = add_reaction(&mut issue.reactions, id, content, by, now);
    Ok(response(call, &reaction, new))
}

pub(crate) fn create_for_comment(call: &mut ApiCall<'_>) -> ApiResult {
    let comment = call.number("comment_id")?;
    let (number, index) = call.repo().comment_position(comment).ok_or_else(ApiError::not_found)?;
    let content = content(call)?;
    let (id, by, now) = (call.db.next_id(), call.login.clone(), call.now);
    let issue = call.repo_mut().issues.get_mut(&number).ok_or_else(ApiError::not_found)?;
    let (reaction, new) = add_reaction(&mut issue.comments[index].reactions, id, content, by, now);
    Ok(response(call, &reaction, new))
}

pub(crate) fn delete(call: &mut ApiCall<'_>) -> ApiResult {
    let (number, id) = (call.issue()?.number, call.number("reaction_id")?);
    let by = call.login.clone();
    let issue = call.repo_mut().issues.get_mut(&number).ok_or_else(ApiError::not_found)?;
    let before = issue.reactions.len();
    issue.reactions.retain(|reaction| reaction.id != id || reaction.author != by);
    match issue.reactions.len() < before {
        true => Ok(ApiResponse::no_content()),
        false => Err(ApiError::not_found()),
    }
}

fn content(call: &ApiCall<'_>) -> Result<String, ApiError> {
    let content = call.required_text("Reaction", "content")?;
    match REACTIONS.contains(&content.as_str()) {
        true => Ok(content),
        false => Err(ApiError::invalid("Reaction", "content", "invalid")),
    }
}

/// Adds a reaction. Returns it, and whether it is new.
fn add_reaction(
    reactions: &mut Vec<Reaction>,
    id: u64,
    content: String,
    author: String,
    now: Timestamp,
) -> (Reaction, bool) {
    let same = reactions.iter().find(|known| known.content == content && known.author == author);
    if let Some(known) = same {
        return (known.clone(), false);
    }
    let reaction = Reaction { id, author, content, created_at: now };
    reactions.push(reaction.clone());
    (reaction, true)
}

fn response(call: &ApiCall<'_>, reaction: &Reaction, new: bool) -> ApiResponse {
    ApiResponse::new(if new { 201 } else { 200 }, shapes::reaction(call.db, reaction))
}
