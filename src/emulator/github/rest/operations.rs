//! The REST operations: name, method, path, required access and handler. A path that is not listed here
//! does not exist.
//! Source for names and permissions: GitHub's REST description, "Permissions required for GitHub
//! Apps".

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::access::Access;
use super::call::ApiCall;
use super::graphql;
use super::response::ApiResult;
use super::routes::{
    app, checks, comments, issues, labels, pulls, reactions, references, repositories, reviews, webhook,
};
use crate::github::data::PermissionLevel;

/// One operation.
pub(crate) struct Operation {
    /// GitHub's `operationId`.
    pub(crate) id: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) run: fn(&mut ApiCall<'_>) -> ApiResult,
}

const METADATA: Access = Access::Any(&[("metadata", PermissionLevel::Read)]);
const CONTENTS_READ: Access = Access::Any(&[("contents", PermissionLevel::Read)]);
const CONTENTS_WRITE: Access = Access::Any(&[("contents", PermissionLevel::Write)]);
const ISSUES_READ: Access = Access::Any(&[("issues", PermissionLevel::Read)]);
const ISSUES_WRITE: Access = Access::Any(&[("issues", PermissionLevel::Write)]);
const CONVERSATION_READ: Access =
    Access::Any(&[("issues", PermissionLevel::Read), ("pull_requests", PermissionLevel::Read)]);
const CONVERSATION_WRITE: Access =
    Access::Any(&[("issues", PermissionLevel::Write), ("pull_requests", PermissionLevel::Write)]);
const PULLS_READ: Access = Access::Any(&[("pull_requests", PermissionLevel::Read)]);
const PULLS_WRITE: Access = Access::Any(&[("pull_requests", PermissionLevel::Write)]);
const CHECKS_READ: Access = Access::Any(&[("checks", PermissionLevel::Read)]);
const CHECKS_WRITE: Access = Access::Any(&[("checks", PermissionLevel::Write)]);
const STATUSES_READ: Access = Access::Any(&[("statuses", PermissionLevel::Read)]);

macro_rules! operations {
    ($($id:literal $method:ident $path:literal $access:expr => $run:path;)*) => {
        [$(Operation { id: $id, method: stringify!($method), path: $path, access: $access, run: $run }),*]
    };
}

/// All operations.
pub(crate) static OPERATIONS: [Operation; 69] = operations! {
    "apps/get-authenticated" GET "/app" Access::App => app::get_app;
    "apps/get-by-slug" GET "/apps/{app_slug}" Access::Installation => app::get_app_by_slug;
    "apps/get-webhook-config-for-app" GET "/app/hook/config" Access::App => webhook::get_config;
    "apps/update-webhook-config-for-app" PATCH "/app/hook/config" Access::App => webhook::update_config;
    "apps/list-webhook-deliveries" GET "/app/hook/deliveries" Access::App => webhook::list;
    "apps/get-webhook-delivery" GET "/app/hook/deliveries/{delivery_id}" Access::App => webhook::get;
    "apps/redeliver-webhook-delivery" POST "/app/hook/deliveries/{delivery_id}/attempts" Access::App => webhook::redeliver;
    "apps/list-installations" GET "/app/installations" Access::App => app::list_installations;
    "apps/get-installation" GET "/app/installations/{installation_id}" Access::App => app::get_installation;
    "apps/create-installation-access-token" POST "/app/installations/{installation_id}/access_tokens" Access::App => app::create_token;
    "apps/get-repo-installation" GET "/repos/{owner}/{repo}/installation" Access::App => app::get_installation;
    "apps/create-from-manifest" POST "/app-manifests/{code}/conversions" Access::Public => app::convert_manifest;
    "apps/list-repos-accessible-to-installation" GET "/installation/repositories" Access::Installation => app::list_repositories;
    "apps/revoke-installation-access-token" DELETE "/installation/token" Access::Installation => app::revoke_token;
    "rate-limit/get" GET "/rate_limit" Access::Public => app::rate_limit;
    "users/get-by-username" GET "/users/{username}" Access::Public => repositories::get_user;
    "repos/get" GET "/repos/{owner}/{repo}" METADATA => repositories::get;
    "repos/get-collaborator-permission-level" GET "/repos/{owner}/{repo}/collaborators/{username}/permission" METADATA => repositories::permission;
    "repos/get-branch" GET "/repos/{owner}/{repo}/branches/{branch}" CONTENTS_READ => repositories::branch;
    "repos/get-commit" GET "/repos/{owner}/{repo}/commits/{ref}" CONTENTS_READ => repositories::commit;
    "repos/compare-commits-with-basehead" GET "/repos/{owner}/{repo}/compare/{basehead}" CONTENTS_READ => repositories::compare;
    "repos/get-content" GET "/repos/{owner}/{repo}/contents/{path}" CONTENTS_READ => repositories::content;
    "git/get-ref" GET "/repos/{owner}/{repo}/git/ref/{ref}" CONTENTS_READ => references::get_ref;
    "git/list-matching-refs" GET "/repos/{owner}/{repo}/git/matching-refs/{ref}" CONTENTS_READ => references::matching_refs;
    "git/create-ref" POST "/repos/{owner}/{repo}/git/refs" CONTENTS_WRITE => references::create_ref;
    "git/update-ref" PATCH "/repos/{owner}/{repo}/git/refs/{ref}" CONTENTS_WRITE => references::update_ref;
    "git/delete-ref" DELETE "/repos/{owner}/{repo}/git/refs/{ref}" CONTENTS_WRITE => references::delete_ref;
    "issues/list-for-repo" GET "/repos/{owner}/{repo}/issues" ISSUES_READ => issues::list;
    "issues/create" POST "/repos/{owner}/{repo}/issues" ISSUES_WRITE => issues::create;
    "issues/get" GET "/repos/{owner}/{repo}/issues/{issue_number}" ISSUES_READ => issues::get;
    "issues/update" PATCH "/repos/{owner}/{repo}/issues/{issue_number}" CONVERSATION_WRITE => issues::update;
    "issues/list-comments" GET "/repos/{owner}/{repo}/issues/{issue_number}/comments" CONVERSATION_READ => comments::list;
    "issues/create-comment" POST "/repos/{owner}/{repo}/issues/{issue_number}/comments" CONVERSATION_WRITE => comments::create;
    "issues/get-comment" GET "/repos/{owner}/{repo}/issues/comments/{comment_id}" CONVERSATION_READ => comments::get;
    "issues/update-comment" PATCH "/repos/{owner}/{repo}/issues/comments/{comment_id}" CONVERSATION_WRITE => comments::update;
    "issues/delete-comment" DELETE "/repos/{owner}/{repo}/issues/comments/{comment_id}" CONVERSATION_WRITE => comments::delete;
    "issues/list-labels-on-issue" GET "/repos/{owner}/{repo}/issues/{issue_number}/labels" CONVERSATION_READ => labels::list_on_issue;
    "issues/add-labels" POST "/repos/{owner}/{repo}/issues/{issue_number}/labels" CONVERSATION_WRITE => labels::add;
    "issues/remove-label" DELETE "/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}" CONVERSATION_WRITE => labels::remove;
    "issues/list-events" GET "/repos/{owner}/{repo}/issues/{issue_number}/events" CONVERSATION_READ => issues::events;
    "issues/list-labels-for-repo" GET "/repos/{owner}/{repo}/labels" CONVERSATION_READ => labels::list;
    "issues/create-label" POST "/repos/{owner}/{repo}/labels" CONVERSATION_WRITE => labels::create;
    "issues/get-label" GET "/repos/{owner}/{repo}/labels/{name}" CONVERSATION_READ => labels::get;
    "reactions/list-for-issue" GET "/repos/{owner}/{repo}/issues/{issue_number}/reactions" ISSUES_READ => reactions::list;
    "reactions/create-for-issue" POST "/repos/{owner}/{repo}/issues/{issue_number}/reactions" ISSUES_WRITE => reactions::create;
    "reactions/delete-for-issue" DELETE "/repos/{owner}/{repo}/issues/{issue_number}/reactions/{reaction_id}" ISSUES_WRITE => reactions::delete;
    "reactions/create-for-issue-comment" POST "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions" ISSUES_WRITE => reactions::create_for_comment;
    "pulls/list" GET "/repos/{owner}/{repo}/pulls" PULLS_READ => pulls::list;
    "pulls/create" POST "/repos/{owner}/{repo}/pulls" PULLS_WRITE => pulls::create;
    "pulls/get" GET "/repos/{owner}/{repo}/pulls/{pull_number}" PULLS_READ => pulls::get;
    "pulls/update" PATCH "/repos/{owner}/{repo}/pulls/{pull_number}" PULLS_WRITE => pulls::update;
    "pulls/list-files" GET "/repos/{owner}/{repo}/pulls/{pull_number}/files" PULLS_READ => pulls::files;
    "pulls/list-commits" GET "/repos/{owner}/{repo}/pulls/{pull_number}/commits" PULLS_READ => pulls::commits;
    "pulls/check-if-merged" GET "/repos/{owner}/{repo}/pulls/{pull_number}/merge" PULLS_READ => pulls::is_merged;
    "pulls/merge" PUT "/repos/{owner}/{repo}/pulls/{pull_number}/merge" CONTENTS_WRITE => pulls::merge;
    "pulls/list-requested-reviewers" GET "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers" PULLS_READ => reviews::requested;
    "pulls/request-reviewers" POST "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers" PULLS_WRITE => reviews::request;
    "pulls/remove-requested-reviewers" DELETE "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers" PULLS_WRITE => reviews::remove_request;
    "pulls/list-reviews" GET "/repos/{owner}/{repo}/pulls/{pull_number}/reviews" PULLS_READ => reviews::list;
    "pulls/create-review" POST "/repos/{owner}/{repo}/pulls/{pull_number}/reviews" PULLS_WRITE => reviews::create;
    "pulls/list-comments-for-review" GET "/repos/{owner}/{repo}/pulls/{pull_number}/reviews/{review_id}/comments" PULLS_READ => reviews::comments_of_review;
    "pulls/list-review-comments" GET "/repos/{owner}/{repo}/pulls/{pull_number}/comments" PULLS_READ => reviews::comments;
    "pulls/create-reply-for-review-comment" POST "/repos/{owner}/{repo}/pulls/{pull_number}/comments/{comment_id}/replies" PULLS_WRITE => reviews::reply;
    "checks/create" POST "/repos/{owner}/{repo}/check-runs" CHECKS_WRITE => checks::create;
    "checks/get" GET "/repos/{owner}/{repo}/check-runs/{check_run_id}" CHECKS_READ => checks::get;
    "checks/update" PATCH "/repos/{owner}/{repo}/check-runs/{check_run_id}" CHECKS_WRITE => checks::update;
    "checks/list-for-ref" GET "/repos/{owner}/{repo}/commits/{ref}/check-runs" CHECKS_READ => checks::list_for_ref;
    "repos/get-combined-status-for-ref" GET "/repos/{owner}/{repo}/commits/{ref}/status" STATUSES_READ => checks::combined_status;
    "graphql" POST "/graphql" Access::Installation => graphql::run;
};

/// The operation that a request is for, and the parameters of its path. If several match, the one with the
/// most literal path is chosen.
pub(crate) fn route(
    method: &str,
    path: &str,
) -> Option<(&'static Operation, BTreeMap<&'static str, String>)> {
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').skip(1).collect();
    OPERATIONS
        .iter()
        .filter(|operation| operation.method == method)
        .filter_map(|operation| {
            let pattern: Vec<&'static str> = operation.path.split('/').skip(1).collect();
            let mut parameters = BTreeMap::new();
            matches(&pattern, &segments, &mut parameters).then_some((operation, pattern, parameters))
        })
        .max_by_key(|(_, pattern, _)| pattern.iter().filter(|part| !part.starts_with('{')).count())
        .map(|(operation, _, parameters)| (operation, parameters))
}

fn matches(
    pattern: &[&'static str],
    segments: &[&str],
    parameters: &mut BTreeMap<&'static str, String>,
) -> bool {
    let Some((first, pattern_rest)) = pattern.split_first() else { return segments.is_empty() };
    let Some(name) = first.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
        return segments.first() == Some(first) && matches(pattern_rest, &segments[1..], parameters);
    };
    // References, paths and branches may contain slashes; the root directory's path is empty.
    let longest = match name {
        "ref" | "path" | "branch" | "basehead" => segments.len(),
        _ => 1,
    };
    let shortest = usize::from(name != "path");
    (shortest..=longest.min(segments.len())).any(|count| {
        let fits = matches(pattern_rest, &segments[count..], parameters);
        if fits {
            parameters.insert(name, decoded(&segments[..count].join("/")));
        }
        fits
    })
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(method: &str, path: &str) -> Option<(&'static str, BTreeMap<&'static str, String>)> {
        route(method, path).map(|(operation, parameters)| (operation.id, parameters))
    }

    #[test]
    fn references_and_paths_with_slashes_are_routed() {
        let (id, parts) = routed("GET", "/repos/o/r/git/ref/heads/agent-fix/issue-1").unwrap();
        assert_eq!((id, parts["ref"].as_str()), ("git/get-ref", "heads/agent-fix/issue-1"));
        let (id, parts) = routed("GET", "/repos/o/r/commits/a/b/check-runs").unwrap();
        assert_eq!((id, parts["ref"].as_str()), ("checks/list-for-ref", "a/b"));
        let (id, parts) = routed("GET", "/repos/o/r/contents/").unwrap();
        assert_eq!((id, parts["path"].as_str()), ("repos/get-content", ""));
    }

    #[test]
    fn most_literal_path_is_chosen_and_unknown_paths_match_nothing() {
        assert_eq!(routed("GET", "/repos/o/r/issues/comments/7").unwrap().0, "issues/get-comment");
        assert!(routed("GET", "/repos/o/r/issues/7/unknown").is_none());
        assert!(routed("POST", "/repos/o/r").is_none());
    }

    #[test]
    fn parameters_are_percent_decoded() {
        let (_, parts) = routed("DELETE", "/repos/o/r/issues/1/labels/agent%2Ffix%20me").unwrap();
        assert_eq!(parts["name"], "agent/fix me");
        assert_eq!(decoded("100%"), "100%");
    }
}
