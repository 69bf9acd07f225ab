//! Repositories and their collaborators, branches, commits and files.

use base64::Engine;
use serde_json::{Value, json};

use crate::git::{CommitFacts, Content};
use crate::github::data::Role;
use crate::github::rest::call::ApiCall;
use crate::github::rest::response::{ApiError, ApiResponse, ApiResult};
use crate::github::shapes;

/// Larger files are answered without their content.
/// Source: docs.github.com, "Get repository content".
const CONTENT_BYTES_MAX: usize = 1 << 20;

pub(crate) fn get(call: &mut ApiCall<'_>) -> ApiResult {
    Ok(ApiResponse::ok(shapes::repository(call.db, call.repo())))
}

pub(crate) fn get_user(call: &mut ApiCall<'_>) -> ApiResult {
    let account = call.db.account(call.parameter("username")).ok_or_else(ApiError::not_found)?;
    Ok(ApiResponse::ok(shapes::public_user(call.db, &account.login)))
}

pub(crate) fn permission(call: &mut ApiCall<'_>) -> ApiResult {
    let login = call.parameter("username").to_lowercase();
    let account = call.db.account(&login);
    let account = account.ok_or_else(|| ApiError::new(404, &format!("{login} is not a user")))?;
    let role = match call.repo().hidden_from.contains(&login) {
        true => Role::None,
        false => account.role,
    };
    let mut shape = shapes::account(call.db, &account.login);
    let may = |roles: &[Role]| roles.contains(&role);
    shape["permissions"] = json!({
        "admin": may(&[Role::Admin]),
        "maintain": may(&[Role::Admin, Role::Maintain]),
        "push": may(&[Role::Admin, Role::Maintain, Role::Write]),
        "triage": may(&[Role::Admin, Role::Maintain, Role::Write, Role::Triage]),
        "pull": role != Role::None,
    });
    shape["role_name"] = json!(role.name());
    Ok(ApiResponse::ok(json!({
        "permission": role.permission(), "role_name": role.name(), "user": shape
    })))
}

pub(crate) fn branch(call: &mut ApiCall<'_>) -> ApiResult {
    let name = call.parameter("branch");
    let sha = call.repo().git.branch(name)?.ok_or_else(|| ApiError::new(404, "Branch not found"))?;
    let facts = call.repo().git.commit(&sha)?;
    Ok(ApiResponse::ok(shapes::branch(call.db, call.repo(), name, &facts)))
}

pub(crate) fn commit(call: &mut ApiCall<'_>) -> ApiResult {
    let name = call.parameter("ref");
    let repository = call.repo();
    let sha = repository.git.resolve(name)?.ok_or_else(|| ApiError::no_commit(name))?;
    let facts = repository.git.commit(&sha)?;
    let changes = repository.git.changes_of(&sha)?;
    Ok(ApiResponse::ok(shapes::commit_with_changes(call.db, repository, &facts, &changes)))
}

pub(crate) fn compare(call: &mut ApiCall<'_>) -> ApiResult {
    let repository = call.repo();
    let own = format!("{}:", repository.owner);
    let (base, head) = call.parameter("basehead").split_once("...").ok_or_else(ApiError::not_found)?;
    let find = |name: &str| -> Result<CommitFacts, ApiError> {
        let name = name.strip_prefix(&own).unwrap_or(name);
        let sha = repository.git.resolve(name)?.ok_or_else(ApiError::not_found)?;
        Ok(repository.git.commit(&sha)?)
    };
    let (base, head) = (find(base)?, find(head)?);
    let result = repository.git.compare(&base.sha, &head.sha)?;
    let merge_base = result.merge_base.as_ref().ok_or_else(ApiError::not_found)?;
    let merge_base = repository.git.commit(merge_base)?;
    let commits = repository.git.commits_between(Some(&base.sha), &head.sha)?;
    let ends = [&base, &merge_base, &head];
    Ok(ApiResponse::ok(shapes::comparison(call.db, repository, ends, &result, &commits)))
}

pub(crate) fn content(call: &mut ApiCall<'_>) -> ApiResult {
    let repository = call.repo();
    let reference = call.query("ref").unwrap_or(&repository.default_branch);
    let path = call.parameter("path").trim_matches('/');
    let commit = repository.git.resolve(reference)?;
    let no_commit = || ApiError::new(404, &format!("No commit found for the ref {reference}"));
    let commit = commit.ok_or_else(no_commit)?;
    let found = repository.git.content(&commit, path)?.ok_or_else(ApiError::not_found)?;
    let describe = |path: &str, kind: &str, sha: &str, size: usize| -> Value {
        let (api, web) = (call.db.api_url(repository), call.db.page_url(repository));
        let url = format!("{api}/contents/{path}?ref={reference}");
        let (object, page) = if kind == "dir" { ("trees", "tree") } else { ("blobs", "blob") };
        let git = format!("{api}/git/{object}/{sha}");
        let page = format!("{web}/{page}/{reference}/{path}");
        let raw = format!("{web}/raw/{reference}/{path}");
        json!({
            "type": kind,
            "size": size,
            "name": path.rsplit('/').next().unwrap_or(path),
            "path": path,
            "sha": sha,
            "url": url,
            "git_url": git,
            "html_url": page,
            "download_url": if kind == "file" { json!(raw) } else { Value::Null },
            "_links": {"self": url, "git": git, "html": page},
        })
    };
    Ok(ApiResponse::ok(match found {
        Content::File { sha, bytes } => {
            let mut shape = describe(path, "file", &sha, bytes.len());
            let small = bytes.len() <= CONTENT_BYTES_MAX;
            shape["encoding"] = json!(if small { "base64" } else { "none" });
            shape["content"] = json!(if small { wrapped_base64(&bytes) } else { String::new() });
            shape
        }
        Content::Directory(entries) => entries
            .iter()
            .map(|entry| {
                let below =
                    if path.is_empty() { entry.name.clone() } else { format!("{path}/{}", entry.name) };
                describe(&below, entry.kind, &entry.sha, entry.bytes)
            })
            .collect(),
    }))
}

/// Base64 in lines of sixty characters, as GitHub sends it.
fn wrapped_base64(bytes: &[u8]) -> String {
    const LINE: usize = 60;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut wrapped = String::with_capacity(text.len() + text.len() / LINE + 1);
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index % LINE == 0 {
            wrapped.push('\n');
        }
        wrapped.push(character);
    }
    wrapped.push('\n');
    wrapped
}
