//! GraphQL's `createCommitOnBranch`: a commit that GitHub makes, and signs.
//! Source: GitHub's GraphQL schema, `CreateCommitOnBranchInput`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::access::permit;
use super::call::{Answer, Call, Outcome, Refusal};
use super::operations::{Access, Level};
use super::pull_deeds::references_moved;
use crate::git::{RefUpdate, WebCommit};

const NAME: &str = "createCommitOnBranch";
const WRITE: Access = Access::Any(&[("contents", Level::Write)]);

/// Whether a query asks for it.
pub(super) fn is_asked_for(query: &str) -> bool {
    query.contains(NAME)
}

pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    *call.world.calls.entry(format!("graphql/{NAME}")).or_default() += 1;
    match make(call)? {
        Ok(sha) => Ok(Answer::ok(json!({"data": {NAME: {"commit": {"oid": sha}}}}))),
        Err((kind, message)) => Ok(Answer::ok(json!({
            "data": {NAME: null},
            "errors": [{"type": kind, "path": [NAME], "message": message}],
        }))),
    }
}

/// The commit's id; else GraphQL's kind of error and its words.
fn make(call: &mut Call<'_>) -> Result<Result<String, (&'static str, String)>, Refusal> {
    let input = call.body["variables"]["input"].clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let full_name = text(&input["branch"]["repositoryNameWithOwner"]);
    let branch = text(&input["branch"]["branchName"]);
    let Some(index) = call.world.repository_named(&full_name) else {
        return Ok(Err((
            "NOT_FOUND",
            format!("Could not resolve to a Repository with the name '{full_name}'."),
        )));
    };
    call.repository = index;
    if permit(call.world, &call.caller, WRITE, Some(index)).is_err() {
        return Ok(Err(("FORBIDDEN", "Resource not accessible by integration".to_owned())));
    }
    let Some(before) = call.repo().git.branch(&branch)? else {
        return Ok(Err(("NOT_FOUND", format!("Could not resolve to a ref named '{branch}'."))));
    };
    if input["expectedHeadOid"].as_str() != Some(before.as_str()) {
        let words = format!(
            "Expected branch to point to {} but it did not. Pull and try again.",
            input["expectedHeadOid"]
        );
        return Ok(Err(("STALE_DATA", words)));
    }
    let mut additions = Vec::new();
    for added in input["fileChanges"]["additions"].as_array().into_iter().flatten() {
        match STANDARD.decode(text(&added["contents"])) {
            Ok(bytes) => additions.push((text(&added["path"]), bytes)),
            Err(_) => return Ok(Err(("UNPROCESSABLE", "A file's contents are not base64.".to_owned()))),
        }
    }
    let deleted = input["fileChanges"]["deletions"].as_array().into_iter().flatten();
    let (headline, body) = (text(&input["message"]["headline"]), text(&input["message"]["body"]));
    if headline.is_empty() {
        return Ok(Err(("UNPROCESSABLE", "A commit message is required.".to_owned())));
    }
    let by = call.login();
    let new = WebCommit {
        additions,
        deletions: deleted.map(|deleted| text(&deleted["path"])).collect(),
        message: if body.is_empty() { headline } else { format!("{headline}\n\n{body}") },
        author: (by.clone(), format!("{by}@users.noreply.github.com")),
        at_seconds: call.now.as_second(),
    };
    let Some(after) = call.repo().git.commit_on_branch(&branch, &new)? else {
        return Ok(Err((
            "UNPROCESSABLE",
            "A path was requested for deletion that does not exist.".to_owned(),
        )));
    };
    let update = RefUpdate { name: format!("refs/heads/{branch}"), before, after: after.clone() };
    let (now, repository) = (call.now, call.repository);
    references_moved(call.world, repository, &[update], &by, now)?;
    Ok(Ok(after))
}
