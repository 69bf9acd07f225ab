//! `markPullRequestReadyForReview` and `convertPullRequestToDraft`. They exist so that a call of them shows
//! in the counters: Mendwright must never mark a pull request as ready.

use serde_json::{Value, json};

use super::error::GraphqlError;
use crate::github::mutations::Actor;
use crate::github::rest::call::ApiCall;
use crate::github::shapes;

pub(super) const MARK_READY_FIELD: &str = "markPullRequestReadyForReview";
pub(super) const CONVERT_TO_DRAFT_FIELD: &str = "convertPullRequestToDraft";

/// Carries out one of the two mutations on the pull request whose node id the query or its variables hold.
pub(super) fn set_draft(
    call: &mut ApiCall<'_>,
    field: &'static str,
    query: &str,
) -> Result<Value, GraphqlError> {
    let draft = field == CONVERT_TO_DRAFT_FIELD;
    let given = format!("{query}{}", call.body["variables"]);
    let target = call.db.repositories.iter().enumerate().find_map(|(index, repository)| {
        let mut pulls = repository.pull_requests();
        let (issue, _) = pulls.find(|(_, pull)| given.contains(&shapes::node_id("PR", pull.id)))?;
        Some((index, issue.number))
    });
    let (repository, number) =
        target.ok_or_else(|| GraphqlError::new("NOT_FOUND", "Could not resolve to a node"))?;
    Actor::new(call.db, repository, &call.login, call.now).set_draft(number, draft);
    Ok(json!({field: {"pullRequest": {"isDraft": draft, "number": number}}}))
}
