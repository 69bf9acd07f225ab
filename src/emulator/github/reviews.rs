//! Reviews, their comments, and who was asked for one, over REST.

use serde_json::{Value, json};

use super::call::{Answer, Call, Outcome, Refusal};
use super::pages::page;
use super::pull_deeds::{NewReview, submit_review, tell_review_comment};
use super::pulls::found;
use super::shapes;
use super::world::ReviewComment;

pub(super) fn list(call: &mut Call<'_>) -> Outcome {
    let (issue, pull) = found(call)?;
    let shape = |review| shapes::review(call.world, call.repo(), issue, review);
    let all = pull.reviews.iter().map(shape).collect();
    Ok(page(call, all))
}

pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    let number = found(call)?.0.number;
    let body = call.optional_text("PullRequestReview", "body")?.unwrap_or_default();
    let state = match call.body["event"].as_str() {
        Some("APPROVE") => "APPROVED",
        Some("REQUEST_CHANGES") => "CHANGES_REQUESTED",
        Some("COMMENT") => "COMMENTED",
        _ => return Err(Refusal::new(422, "Unprocessable Entity")),
    };
    let by = call.login();
    if state != "COMMENTED" && found(call)?.0.author == by {
        let verb = if state == "APPROVED" { "approve" } else { "request changes on" };
        return Err(Refusal::new(422, &format!("Can not {verb} your own pull request")));
    }
    let (now, repository) = (call.now, call.repository);
    let review = NewReview { state: state.to_owned(), body, comments: Vec::new() };
    let id = submit_review(call.world, repository, number, review, &by, now);
    let id = id.ok_or_else(Refusal::not_found)?;
    let (issue, pull) = found(call)?;
    let review = pull.reviews.iter().find(|review| review.id == id).ok_or_else(Refusal::not_found)?;
    Ok(Answer::ok(shapes::review(call.world, call.repo(), issue, review)))
}

pub(super) fn comments(call: &mut Call<'_>) -> Outcome {
    let all = listed_comments(call, None)?;
    Ok(page(call, all))
}

pub(super) fn comments_of_review(call: &mut Call<'_>) -> Outcome {
    let review = call.number("review_id")?;
    if !found(call)?.1.reviews.iter().any(|known| known.id == review) {
        return Err(Refusal::not_found());
    }
    let all = listed_comments(call, Some(review))?;
    Ok(page(call, all))
}

pub(super) fn reply(call: &mut Call<'_>) -> Outcome {
    let (number, to) = (found(call)?.0.number, call.number("comment_id")?);
    let body = call.required_text("PullRequestReviewComment", "body")?;
    let first = found(call)?.1.review_comments.iter().find(|comment| comment.id == to);
    let first = first.ok_or_else(Refusal::not_found)?.clone();
    let (id, author, now, repository) = (call.world.next_id(), call.login(), call.now, call.repository);
    let answer = ReviewComment { id, author: author.clone(), body, created_at: now, ..first };
    let issue = call.repo_mut().issues.get_mut(&number).ok_or_else(Refusal::not_found)?;
    let pull = issue.pull.as_mut().ok_or_else(Refusal::not_found)?;
    pull.review_comments.push(answer.clone());
    tell_review_comment(call.world, repository, number, id, &author, now);
    let (issue, _) = found(call)?;
    let mut shape = shapes::review_comment(call.world, call.repo(), issue, &answer);
    shape["in_reply_to_id"] = json!(to);
    Ok(Answer::created(shape))
}

fn listed_comments(call: &Call<'_>, review: Option<u64>) -> Result<Vec<Value>, Refusal> {
    let (issue, pull) = found(call)?;
    let wanted = pull.review_comments.iter().filter(|comment| review.is_none_or(|id| comment.review == id));
    Ok(wanted.map(|comment| shapes::review_comment(call.world, call.repo(), issue, comment)).collect())
}

pub(super) fn requested(call: &mut Call<'_>) -> Outcome {
    let (_, pull) = found(call)?;
    let users: Vec<Value> =
        pull.requested_reviewers.iter().map(|login| shapes::user(call.world, login)).collect();
    Ok(Answer::ok(json!({"users": users, "teams": []})))
}

pub(super) fn request(call: &mut Call<'_>) -> Outcome {
    let author = found(call)?.0.author.clone();
    let asked = call.names("reviewers")?;
    let teams = call.body["team_reviewers"].as_array().map_or(0, Vec::len);
    for login in &asked {
        if login.eq_ignore_ascii_case(&author) {
            return Err(Refusal::new(422, "Review cannot be requested from pull request author."));
        }
        let known = call.world.users.get(&login.to_lowercase());
        if known.is_none_or(|user| user.role == super::people::Role::None) {
            let message = "Reviews may only be requested from collaborators. One or more of the users \
                           or teams you specified is not a collaborator of the repository.";
            return Err(Refusal::new(422, message));
        }
    }
    if teams > 0 {
        // No organisation of this world has a team.
        return Err(Refusal::new(422, "Could not resolve to a node with the global id of a team."));
    }
    change_requests(call, |requested| {
        for login in asked {
            if !requested.contains(&login) {
                requested.push(login);
            }
        }
    })?;
    show(call).map(|shape| Answer::new(201, shape))
}

pub(super) fn remove_request(call: &mut Call<'_>) -> Outcome {
    let gone = call.names("reviewers")?;
    change_requests(call, |requested| requested.retain(|login| !gone.contains(login)))?;
    show(call).map(Answer::ok)
}

fn change_requests(call: &mut Call<'_>, change: impl FnOnce(&mut Vec<String>)) -> Result<(), Refusal> {
    let number = found(call)?.0.number;
    let issue = call.repo_mut().issues.get_mut(&number).ok_or_else(Refusal::not_found)?;
    change(&mut issue.pull.as_mut().ok_or_else(Refusal::not_found)?.requested_reviewers);
    Ok(())
}

fn show(call: &Call<'_>) -> Result<Value, Refusal> {
    let (issue, pull) = found(call)?;
    Ok(shapes::pull_simple(call.world, call.repo(), issue, pull))
}
