//! Reactions to issues and comments, over REST. One of a kind from each account.

use jiff::Timestamp;

use super::call::{Answer, Call, Outcome, Refusal};
use super::pages::page;
use super::shapes;
use super::world::Reaction;

/// The reactions there are.
pub(super) const CONTENTS: [&str; 8] = ["+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"];

pub(super) fn list(call: &mut Call<'_>) -> Outcome {
    let wanted = call.query("content");
    let reactions = call.issue()?.reactions.iter();
    let wanted = reactions.filter(|reaction| wanted.is_none_or(|content| reaction.content == content));
    let all = wanted.map(|reaction| shapes::reaction(call.world, reaction)).collect();
    Ok(page(call, all))
}

pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    let number = call.issue()?.number;
    let content = content(call)?;
    let (id, by, now) = (call.world.next_id(), call.login(), call.now);
    let issue = call.repo_mut().issues.get_mut(&number).ok_or_else(Refusal::not_found)?;
    let (reaction, new) = react(&mut issue.reactions, id, content, by, now);
    Ok(answer(call, &reaction, new))
}

pub(super) fn create_for_comment(call: &mut Call<'_>) -> Outcome {
    let comment = call.number("comment_id")?;
    let (number, index) = call.repo().comment_place(comment).ok_or_else(Refusal::not_found)?;
    let content = content(call)?;
    let (id, by, now) = (call.world.next_id(), call.login(), call.now);
    let issue = call.repo_mut().issues.get_mut(&number).ok_or_else(Refusal::not_found)?;
    let (reaction, new) = react(&mut issue.comments[index].reactions, id, content, by, now);
    Ok(answer(call, &reaction, new))
}

pub(super) fn delete(call: &mut Call<'_>) -> Outcome {
    let (number, id) = (call.issue()?.number, call.number("reaction_id")?);
    let by = call.login();
    let issue = call.repo_mut().issues.get_mut(&number).ok_or_else(Refusal::not_found)?;
    let before = issue.reactions.len();
    issue.reactions.retain(|reaction| reaction.id != id || reaction.author != by);
    match issue.reactions.len() < before {
        true => Ok(Answer::no_content()),
        false => Err(Refusal::not_found()),
    }
}

fn content(call: &Call<'_>) -> Result<String, Refusal> {
    let content = call.required_text("Reaction", "content")?;
    match CONTENTS.contains(&content.as_str()) {
        true => Ok(content),
        false => Err(Refusal::invalid("Reaction", "content", "invalid")),
    }
}

/// The reaction, and whether it is new.
fn react(
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

fn answer(call: &Call<'_>, reaction: &Reaction, new: bool) -> Answer {
    Answer::new(if new { 201 } else { 200 }, shapes::reaction(call.world, reaction))
}
