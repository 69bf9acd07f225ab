//! Reviews, their comments, and requests for reviews.

use serde_json::{Value, json};

use crate::github::data::Role;
use crate::github::mutations::NewReview;
use crate::github::rest::call::ApiCall;
use crate::github::rest::pagination::page;
use crate::github::rest::response::{ApiError, ApiResponse, ApiResult};
use crate::github::shapes;

pub(crate) fn list(call: &mut ApiCall<'_>) -> ApiResult {
    let (issue, pull) = call.pull_request()?;
    let shape = |review| shapes::review(call.db, call.repo(), issue, review);
    let all = pull.reviews.iter().map(shape).collect();
    Ok(page(call, all))
}

pub(crate) fn create(call: &mut ApiCall<'_>) -> ApiResult {
    let number = call.pull_request()?.0.number;
    let body = call.optional_text("PullRequestReview", "body")?.unwrap_or_default();
    let state = match call.body["event"].as_str() {
        Some("APPROVE") => "APPROVED",
        Some("REQUEST_CHANGES") => "CHANGES_REQUESTED",
        Some("COMMENT") => "COMMENTED",
        _ => return Err(ApiError::new(422, "Unprocessable Entity")),
    };
    if state != "COMMENTED" && call.pull_request()?.0.author == call.login {
        let verb = if state == "APPROVED" { "approve" } else { "request changes on" };
        return Err(ApiError::new(422, &format!("Can not {verb} your own pull request")));
    }
    let review = NewReview { state: state.to_owned(), body, comments: Vec::new() };
    let id = call.actor().submit_review(number, review);
    let id = id.ok_or_else(ApiError::not_found)?;
    let (issue, pull) = call.pull_request()?;
    let review = pull.reviews.iter().find(|review| review.id == id).ok_or_else(ApiError::not_found)?;
    Ok(ApiResponse::ok(shapes::review(call.db, call.repo(), issue, review)))
}

pub(crate) fn comments(call: &mut ApiCall<'_>) -> ApiResult {
    let all = listed_comments(call, None)?;
    Ok(page(call, all))
}

pub(crate) fn comments_of_review(call: &mut ApiCall<'_>) -> ApiResult {
    let review = call.number("review_id")?;
    if !call.pull_request()?.1.reviews.iter().any(|known| known.id == review) {
        return Err(ApiError::not_found());
    }
    let all = listed_comments(call, Some(review))?;
    Ok(page(call, all))
}

pub(crate) fn reply(call: &mut ApiCall<'_>) -> ApiResult {
    let (number, to) = (call.pull_request()?.0.number, call.number("comment_id")?);
    let body = call.required_text("PullRequestReviewComment", "body")?;
    let id = call.actor().reply_to_review_comment(number, to, body).ok_or_else(ApiError::not_found)?;
    let (issue, pull) = call.pull_request()?;
    let reply = pull.review_comments.iter().find(|comment| comment.id == id);
    let reply = reply.ok_or_else(ApiError::not_found)?;
    let mut shape = shapes::review_comment(call.db, call.repo(), issue, reply);
    shape["in_reply_to_id"] = json!(to);
    Ok(ApiResponse::created(shape))
}

fn listed_comments(call: &ApiCall<'_>, review: Option<u64>) -> Result<Vec<Value>, ApiError> {
    let (issue, pull) = call.pull_request()?;
    let listed = pull.review_comments.iter().filter(|comment| review.is_none_or(|id| comment.review == id));
    Ok(listed.map(|comment| shapes::review_comment(call.db, call.repo(), issue, comment)).collect())
}

pub(crate) fn requested(call: &mut ApiCall<'_>) -> ApiResult {
    let (_, pull) = call.pull_request()?;
    let users: Vec<Value> =
        pull.requested_reviewers.iter().map(|login| shapes::account(call.db, login)).collect();
    Ok(ApiResponse::ok(json!({"users": users, "teams": []})))
}

pub(crate) fn request(call: &mut ApiCall<'_>) -> ApiResult {
    let author = call.pull_request()?.0.author.clone();
    let reviewers = call.names("reviewers")?;
    let teams = call.body["team_reviewers"].as_array().map_or(0, Vec::len);
    for login in &reviewers {
        if login.eq_ignore_ascii_case(&author) {
            return Err(ApiError::new(422, "Review cannot be requested from pull request author."));
        }
        if call.db.account(login).is_none_or(|account| account.role == Role::None) {
            let message = "Reviews may only be requested from collaborators. One or more of the users \
                           or teams you specified is not a collaborator of the repository.";
            return Err(ApiError::new(422, message));
        }
    }
    if teams > 0 {
        // The emulator has no teams.
        return Err(ApiError::new(422, "Could not resolve to a node with the global id of a team."));
    }
    change_requests(call, |requested| {
        for login in reviewers {
            if !requested.contains(&login) {
                requested.push(login);
            }
        }
    })?;
    show(call).map(|shape| ApiResponse::new(201, shape))
}

pub(crate) fn remove_request(call: &mut ApiCall<'_>) -> ApiResult {
    let removed = call.names("reviewers")?;
    change_requests(call, |requested| requested.retain(|login| !removed.contains(login)))?;
    show(call).map(ApiResponse::ok)
}

fn change_requests(call: &mut ApiCall<'_>, change: impl FnOnce(&mut Vec<String>)) -> Result<(), ApiError> {
    let number = call.pull_request()?.0.number;
    let pull = call.repo_mut().pull_request_mut(number).ok_or_else(ApiError::not_found)?;
    change(&mut pull.requested_reviewers);
    Ok(())
}

fn show(call: &ApiCall<'_>) -> Result<Value, ApiError> {
    let (issue, pull) = call.pull_request()?;
    Ok(shapes::pull_simple(call.db, call.repo(), issue, pull))
}
