//! Repositories, their people, branches, commits and files.

use base64::Engine;
use serde_json::{Value, json};

use super::call::{Answer, Call, Outcome, Refusal};
use super::people::Role;
use super::shapes;
use crate::git::{CommitFacts, Content};

/// Larger files have no content in the answer.
/// Source: docs.github.com, "Get repository content".
const CONTENT_BYTES_MAX: usize = 1 << 20;

pub(super) fn get(call: &mut Call<'_>) -> Outcome {
    Ok(Answer::ok(shapes::repository(call.world, call.repo())))
}

pub(super) fn get_user(call: &mut Call<'_>) -> Outcome {
    let login = call.parameter("username").to_lowercase();
    let user = call.world.users.get(&login).ok_or_else(Refusal::not_found)?;
    Ok(Answer::ok(shapes::public_user(call.world, &user.login)))
}

pub(super) fn permission(call: &mut Call<'_>) -> Outcome {
    let login = call.parameter("username").to_lowercase();
    let user = call.world.users.get(&login);
    let user = user.ok_or_else(|| Refusal::new(404, &format!("{login} is not a user")))?;
    let role = user.role;
    let mut shape = shapes::user(call.world, &user.login);
    let may = |roles: &[Role]| roles.contains(&role);
    shape["permissions"] = json!({
        "admin": may(&[Role::Admin]),
        "maintain": may(&[Role::Admin, Role::Maintain]),
        "push": may(&[Role::Admin, Role::Maintain, Role::Write]),
        "triage": may(&[Role::Admin, Role::Maintain, Role::Write, Role::Triage]),
        "pull": role != Role::None,
    });
    shape["role_name"] = json!(role.name());
    Ok(Answer::ok(json!({
        "permission": role.permission(), "role_name": role.name(), "user": shape
    })))
}

pub(super) fn branch(call: &mut Call<'_>) -> Outcome {
    let name = call.parameter("branch");
    let sha = call.repo().git.branch(name)?.ok_or_else(|| Refusal::new(404, "Branch not found"))?;
    let facts = call.repo().git.commit(&sha)?;
    Ok(Answer::ok(shapes::branch(call.world, call.repo(), name, &facts)))
}

pub(super) fn commit(call: &mut Call<'_>) -> Outcome {
    let name = call.parameter("ref");
    let repository = call.repo();
    let sha = repository.git.resolve(name)?.ok_or_else(|| no_commit(name))?;
    let facts = repository.git.commit(&sha)?;
    let changes = repository.git.changes_of(&sha)?;
    Ok(Answer::ok(shapes::commit_with_changes(call.world, repository, &facts, &changes)))
}

/// GitHub's 422 for a reference that leads nowhere.
pub(super) fn no_commit(name: &str) -> Refusal {
    Refusal::new(422, &format!("No commit found for SHA: {name}"))
}

pub(super) fn compare(call: &mut Call<'_>) -> Outcome {
    let repository = call.repo();
    let own = format!("{}:", repository.owner);
    let (base, head) = call.parameter("basehead").split_once("...").ok_or_else(Refusal::not_found)?;
    let find = |name: &str| -> Result<CommitFacts, Refusal> {
        let name = name.strip_prefix(&own).unwrap_or(name);
        let sha = repository.git.resolve(name)?.ok_or_else(Refusal::not_found)?;
        Ok(repository.git.commit(&sha)?)
    };
    let (base, head) = (find(base)?, find(head)?);
    let result = repository.git.compare(&base.sha, &head.sha)?;
    let merge_base = result.merge_base.as_ref().ok_or_else(Refusal::not_found)?;
    let merge_base = repository.git.commit(merge_base)?;
    let commits = repository.git.commits_between(Some(&base.sha), &head.sha)?;
    let ends = [&base, &merge_base, &head];
    Ok(Answer::ok(shapes::comparison(call.world, repository, ends, &result, &commits)))
}

pub(super) fn content(call: &mut Call<'_>) -> Outcome {
    let repository = call.repo();
    let reference = call.query("ref").unwrap_or(&repository.default_branch);
    let path = call.parameter("path").trim_matches('/');
    let commit = repository.git.resolve(reference)?;
    let no_commit = || Refusal::new(404, &format!("No commit found for the ref {reference}"));
    let commit = commit.ok_or_else(no_commit)?;
    let found = repository.git.content(&commit, path)?.ok_or_else(Refusal::not_found)?;
    let describe = |path: &str, kind: &str, sha: &str, size: usize| -> Value {
        let full_name = repository.full_name();
        let api = format!("{}/repos/{full_name}", call.world.urls.api);
        let url = format!("{api}/contents/{path}?ref={reference}");
        let (object, page) = if kind == "dir" { ("trees", "tree") } else { ("blobs", "blob") };
        let git = format!("{api}/git/{object}/{sha}");
        let page = format!("{}/{full_name}/{page}/{reference}/{path}", call.world.urls.web);
        let raw = format!("{}/{full_name}/raw/{reference}/{path}", call.world.urls.web);
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
    Ok(Answer::ok(match found {
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
