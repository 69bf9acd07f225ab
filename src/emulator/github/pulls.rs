//! Pull requests over REST (and the two GraphQL mutations that change a draft).
//!
//! Merging and marking as ready exist so that their use is seen in the counters: Mendwright must
//! never do either.

use serde_json::{Value, json};

use super::call::{Answer, Call, Outcome, Refusal};
use super::deeds::{IssueEdit, edit_issue};
use super::issues::open_state;
use super::pages::page;
use super::pull_deeds::{NewPull, merge_pull, open_pull, set_draft};
use super::shapes;
use super::world::{Issue, Pull};

pub(super) fn list(call: &mut Call<'_>) -> Outcome {
    let state = call.query("state").unwrap_or("open");
    if !["open", "closed", "all"].contains(&state) {
        return Err(Refusal::invalid("PullRequest", "state", "invalid"));
    }
    let label = |branch: &str| format!("{}:{branch}", call.repo().owner);
    // A head without an owner is no filter, as on GitHub.
    let head = call.query("head").filter(|head| head.contains(':'));
    let wanted = |issue: &Issue, pull: &Pull| {
        (state == "all" || issue.open == (state == "open"))
            && head.is_none_or(|head| head.eq_ignore_ascii_case(&label(&pull.head)))
            && call.query("base").is_none_or(|base| base == pull.base)
    };
    let pulls = call.repo().issues.values().filter_map(|issue| Some((issue, issue.pull.as_ref()?)));
    let mut found: Vec<(&Issue, &Pull)> = pulls.filter(|(issue, pull)| wanted(issue, pull)).collect();
    let by_update = call.query("sort") == Some("updated");
    if by_update {
        found.sort_by_key(|(issue, _)| issue.updated_at);
    }
    // Newest first, unless another order was asked for.
    if call.query("direction").unwrap_or(if by_update { "asc" } else { "desc" }) == "desc" {
        found.reverse();
    }
    let all = found
        .into_iter()
        .map(|(issue, pull)| shapes::pull_simple(call.world, call.repo(), issue, pull))
        .collect();
    Ok(page(call, all))
}

pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    const RESOURCE: &str = "PullRequest";
    let head = call.required_text(RESOURCE, "head")?;
    let base = call.required_text(RESOURCE, "base")?;
    let title = call.required_text(RESOURCE, "title")?;
    let body = call.optional_text(RESOURCE, "body")?;
    let draft = call.body["draft"].as_bool().unwrap_or(false);
    let repository = call.repo();
    let own = format!("{}:", repository.owner);
    let head = head.strip_prefix(&own).unwrap_or(&head).to_owned();
    let tip = |branch: &str, field: &str| -> Result<String, Refusal> {
        repository.git.branch(branch)?.ok_or_else(|| Refusal::invalid(RESOURCE, field, "invalid"))
    };
    let base_sha = tip(&base, "base")?;
    let head_sha = tip(&head, "head")?;
    let same = |issue: &Issue| {
        let pull = issue.pull.as_ref();
        issue.open && pull.is_some_and(|pull| pull.head == head && pull.base == base)
    };
    if repository.issues.values().any(same) {
        let message = format!("A pull request already exists for {own}{head}.");
        return Err(Refusal::custom(RESOURCE, &message));
    }
    let comparison = repository.git.compare(&base_sha, &head_sha)?;
    if comparison.merge_base.is_none() {
        let message = format!("The {head} branch has no history in common with {base}");
        return Err(Refusal::custom(RESOURCE, &message));
    }
    if comparison.ahead == 0 {
        return Err(Refusal::custom(RESOURCE, &format!("No commits between {base} and {head}")));
    }
    let (by, now, index) = (call.login(), call.now, call.repository);
    let new = NewPull { title, body, draft, head, head_sha, base, base_sha };
    let number = open_pull(call.world, index, new, &by, now)?;
    show(call, number).map(Answer::created)
}

pub(super) fn get(call: &mut Call<'_>) -> Outcome {
    let number = call.number("pull_number")?;
    show(call, number).map(Answer::ok)
}

pub(super) fn update(call: &mut Call<'_>) -> Outcome {
    let number = found(call)?.0.number;
    let edit = IssueEdit {
        title: call.optional_text("PullRequest", "title")?,
        body: call.optional_text("PullRequest", "body")?,
        open: open_state(call, "PullRequest")?,
        ..IssueEdit::default()
    };
    let base = call.optional_text("PullRequest", "base")?;
    let base_sha = match &base {
        Some(branch) => Some(
            call.repo()
                .git
                .branch(branch)?
                .ok_or_else(|| Refusal::invalid("PullRequest", "base", "invalid"))?,
        ),
        None => None,
    };
    if let (Some(base), Some(sha)) = (base, base_sha)
        && let Some(pull) = call.repo_mut().issues.get_mut(&number).and_then(|issue| issue.pull.as_mut())
    {
        (pull.base, pull.base_sha) = (base, sha);
    }
    let (by, now, repository) = (call.login(), call.now, call.repository);
    edit_issue(call.world, repository, number, edit, &by, now);
    show(call, number).map(Answer::ok)
}

pub(super) fn files(call: &mut Call<'_>) -> Outcome {
    let (_, pull) = found(call)?;
    let changes = call.repo().git.compare(&pull.base_sha, &pull.head_sha)?.files;
    let shape = |change| shapes::file_change(call.world, call.repo(), &pull.head_sha, change);
    let all = changes.iter().map(shape).collect();
    Ok(page(call, all))
}

pub(super) fn commits(call: &mut Call<'_>) -> Outcome {
    let (_, pull) = found(call)?;
    let commits = call.repo().git.commits_between(Some(&pull.base_sha), &pull.head_sha)?;
    let all = commits.iter().map(|facts| shapes::commit(call.world, call.repo(), facts)).collect();
    Ok(page(call, all))
}

pub(super) fn is_merged(call: &mut Call<'_>) -> Outcome {
    match found(call)?.1.merged_at {
        Some(_) => Ok(Answer::no_content()),
        None => Err(Refusal::not_found()),
    }
}

/// Refused for drafts, as on GitHub; that it was called is in the counters either way.
pub(super) fn merge(call: &mut Call<'_>) -> Outcome {
    let (issue, pull) = found(call)?;
    if pull.draft {
        return Err(Refusal::new(405, "Pull Request is still a draft"));
    }
    if !issue.open {
        return Err(Refusal::new(405, "Pull Request is not mergeable"));
    }
    let number = issue.number;
    let (by, now, repository) = (call.login(), call.now, call.repository);
    match merge_pull(call.world, repository, number, &by, now)? {
        Some(sha) => Ok(Answer::ok(json!({
            "sha": sha, "merged": true, "message": "Pull Request successfully merged"
        }))),
        None => Err(Refusal::new(405, "Pull Request is not mergeable")),
    }
}

/// `createCommitOnBranch`, `closedByPullRequestsReferences`, `markPullRequestReadyForReview` and `convertPullRequestToDraft`; nothing else
/// is known.
pub(super) fn graphql(call: &mut Call<'_>) -> Outcome {
    let query = call.required_text("Query", "query")?;
    if super::commit_on_branch::is_asked_for(&query) {
        return super::commit_on_branch::create(call);
    }
    if super::closing::is_asked_for(&query) {
        return Ok(super::closing::answer(call));
    }
    let mutations = [("markPullRequestReadyForReview", false), ("convertPullRequestToDraft", true)];
    let Some((name, draft)) = mutations.into_iter().find(|(name, _)| query.contains(name)) else {
        return Ok(Answer::ok(json!({"errors": [{"message": "the emulator does not know this query"}]})));
    };
    *call.world.calls.entry(format!("graphql/{name}")).or_default() += 1;
    let given = query.clone() + &call.body["variables"].to_string();
    let target = call.world.repositories.iter().enumerate().find_map(|(index, repository)| {
        let issue = repository.issues.values().find(|issue| {
            issue.pull.as_ref().is_some_and(|pull| given.contains(&shapes::node_id("PR", pull.id)))
        })?;
        Some((index, issue.number))
    });
    let Some((repository, number)) = target else {
        return Ok(Answer::ok(
            json!({"errors": [{"type": "NOT_FOUND", "message": "Could not resolve to a node"}]}),
        ));
    };
    let (by, now) = (call.login(), call.now);
    set_draft(call.world, repository, number, draft, &by, now);
    Ok(Answer::ok(json!({"data": {name: {"pullRequest": {"isDraft": draft, "number": number}}}})))
}

/// The pull request whose number is in the path.
pub(super) fn found<'a>(call: &'a Call<'_>) -> Result<(&'a Issue, &'a Pull), Refusal> {
    let number = call.number("pull_number")?;
    call.repo().pull(number).ok_or_else(Refusal::not_found)
}

fn show(call: &Call<'_>, number: u64) -> Result<Value, Refusal> {
    let (issue, pull) = call.repo().pull(number).ok_or_else(Refusal::not_found)?;
    Ok(shapes::pull(call.world, call.repo(), issue, pull)?)
}
