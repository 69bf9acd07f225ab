//! `createCommitOnBranch`: a commit that GitHub creates and signs.
//! Source: GitHub's GraphQL schema, `CreateCommitOnBranchInput`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::error::GraphqlError;
use crate::git::WebCommit;
use crate::github::data::PermissionLevel;
use crate::github::rest::access::{Access, permit};
use crate::github::rest::call::ApiCall;

pub(super) const FIELD: &str = "createCommitOnBranch";
const CONTENTS_WRITE: Access = Access::Any(&[("contents", PermissionLevel::Write)]);

/// Creates the commit of the variables.
pub(super) fn create(call: &mut ApiCall<'_>) -> Result<Value, GraphqlError> {
    let input = call.body["variables"]["input"].clone();
    let full_name = text(&input["branch"]["repositoryNameWithOwner"]);
    let branch = text(&input["branch"]["branchName"]);
    call.repository = call.db.repository_named(full_name).ok_or_else(|| {
        let message = format!("Could not resolve to a Repository with the name '{full_name}'.");
        GraphqlError::new("NOT_FOUND", message)
    })?;
    permit(call.db, &call.caller, CONTENTS_WRITE, Some(call.repository))
        .map_err(|_| GraphqlError::new("FORBIDDEN", "Resource not accessible by integration"))?;
    let head = call.repo().git.branch(branch)?.ok_or_else(|| {
        GraphqlError::new("NOT_FOUND", format!("Could not resolve to a ref named '{branch}'."))
    })?;
    let expected = &input["expectedHeadOid"];
    if *expected != head {
        let message = format!("Expected branch to point to {expected} but it did not. Pull and try again.");
        return Err(GraphqlError::new("STALE_DATA", message));
    }
    let commit = read_commit(call, &input)?;
    let sha = call
        .actor()
        .commit_on_branch(branch, &commit)?
        .ok_or_else(|| unprocessable("A path was requested for deletion that does not exist."))?;
    Ok(json!({FIELD: {"commit": {"oid": sha}}}))
}

fn read_commit(call: &ApiCall<'_>, input: &Value) -> Result<WebCommit, GraphqlError> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut additions = Vec::new();
    for added in list(&input["fileChanges"]["additions"]) {
        let bytes = STANDARD
            .decode(text(&added["contents"]))
            .map_err(|_| unprocessable("A file's contents are not base64."))?;
        additions.push((text(&added["path"]).to_owned(), bytes));
    }
    let deletions = list(&input["fileChanges"]["deletions"]);
    let (headline, body) = (text(&input["message"]["headline"]), text(&input["message"]["body"]));
    if headline.is_empty() {
        return Err(unprocessable("A commit message is required."));
    }
    Ok(WebCommit {
        additions,
        deletions: deletions.iter().map(|deleted| text(&deleted["path"]).to_owned()).collect(),
        message: if body.is_empty() { headline.to_owned() } else { format!("{headline}\n\n{body}") },
        author: (call.login.clone(), format!("{}@users.noreply.github.com", call.login)),
        at_seconds: call.now.as_second(),
    })
}

fn unprocessable(message: &str) -> GraphqlError {
    GraphqlError::new("UNPROCESSABLE", message)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
