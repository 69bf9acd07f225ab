//! The operations of GitHub's REST API that this client calls, by GitHub's own names. A test
//! derives from them the permissions that the App must have; the stories check that no other is
//! ever called.

/// All of them.
pub const OPERATIONS: &[&str] = &[
    "apps/create-from-manifest",
    "apps/create-installation-access-token",
    "apps/get-authenticated",
    "apps/get-webhook-config-for-app",
    "apps/list-installations",
    "apps/list-repos-accessible-to-installation",
    "apps/list-webhook-deliveries",
    "apps/redeliver-webhook-delivery",
    "checks/create",
    "checks/list-for-ref",
    "checks/update",
    "git/get-ref",
    "issues/add-labels",
    "issues/create-comment",
    "issues/create-label",
    "issues/get",
    "issues/get-label",
    "issues/list-comments",
    "issues/list-events",
    "issues/list-for-repo",
    "issues/remove-label",
    "issues/update-comment",
    "pulls/create",
    "pulls/list",
    "pulls/request-reviewers",
    "pulls/update",
    "reactions/create-for-issue",
    "repos/get",
    "repos/get-collaborator-permission-level",
    "users/get-by-username",
];
