//! What follows from references that moved: push and delete events, and open pull requests whose head
//! moved with its branch.

use serde_json::{Value, json};

use super::actor::Actor;
use super::issues::IssueEdit;
use crate::git::{CommitFacts, FileStatus, GitError, NO_COMMIT, RefUpdate};
use crate::github::shapes;

impl Actor<'_> {
    /// Emits the events of references that moved in the git repository, and updates pull requests.
    pub(crate) fn references_moved(&mut self, updates: &[RefUpdate]) -> Result<(), GitError> {
        for update in updates {
            self.repo_mut().pushed_at = self.now;
            self.emit_push_event(update)?;
            if update.after == NO_COMMIT {
                self.emit_delete_event(&update.name);
            }
            if let Some(branch) = update.name.strip_prefix("refs/heads/") {
                self.update_pulls_of_branch(branch, update)?;
            }
        }
        Ok(())
    }

    fn update_pulls_of_branch(&mut self, branch: &str, update: &RefUpdate) -> Result<(), GitError> {
        let now = self.now;
        let pulls = self.repo().pull_requests();
        let affected: Vec<u64> = pulls
            .filter(|(issue, pull)| issue.open && pull.head == branch)
            .map(|(issue, _)| issue.number)
            .collect();
        for number in affected {
            if update.after == NO_COMMIT {
                // GitHub closes a pull request when its branch is deleted.
                self.edit_issue(number, IssueEdit::set_open(false));
                continue;
            }
            let Some(issue) = self.issue_mut(number) else { continue };
            issue.updated_at = now;
            if let Some(pull) = &mut issue.pull {
                pull.head_sha.clone_from(&update.after);
            }
            self.repo().git.put_reference(&format!("refs/pull/{number}/head"), &update.after)?;
            let fields = json!({"before": update.before, "after": update.after});
            self.emit_issue_event(number, "synchronize", fields);
        }
        Ok(())
    }

    fn emit_push_event(&mut self, update: &RefUpdate) -> Result<(), GitError> {
        let (created, deleted) = (update.before == NO_COMMIT, update.after == NO_COMMIT);
        let (mut commits, mut head, mut forced) = (Vec::new(), Value::Null, false);
        let repository = self.repo();
        let git = &repository.git;
        if !deleted && update.name.starts_with("refs/heads/") {
            let base =
                if created { git.branch(&repository.default_branch)? } else { Some(update.before.clone()) };
            forced = !created && git.compare(&update.before, &update.after)?.behind > 0;
            for facts in git.commits_between(base.as_deref(), &update.after)? {
                commits.push(self.pushed_commit(&facts)?);
            }
            head = self.pushed_commit(&git.commit(&update.after)?)?;
        }
        let page = self.db.page_url(repository);
        let login = self.login;
        let fields = json!({
            "ref": update.name,
            "before": update.before,
            "after": update.after,
            "base_ref": null,
            "created": created,
            "deleted": deleted,
            "forced": forced,
            "compare": format!("{page}/compare/{}...{}", update.before, update.after),
            "commits": commits,
            "head_commit": head,
            "pusher": {"name": login, "email": format!("{login}@users.noreply.github.com")},
        });
        self.emit("push", None, fields);
        Ok(())
    }

    /// A commit in the shape of push events.
    fn pushed_commit(&self, facts: &CommitFacts) -> Result<Value, GitError> {
        let repository = self.repo();
        let changes = repository.git.changes_of(&facts.sha)?;
        let paths = |statuses: &[FileStatus]| -> Vec<&str> {
            let matching = changes.iter().filter(|change| statuses.contains(&change.status));
            matching.map(|change| change.path.as_str()).collect()
        };
        Ok(json!({
            "id": facts.sha,
            "tree_id": facts.tree,
            "distinct": true,
            "message": facts.message,
            "timestamp": shapes::timestamp_of_seconds(facts.committer.at_seconds),
            "url": format!("{}/commit/{}", self.db.page_url(repository), facts.sha),
            "author": {"name": facts.author.name, "email": facts.author.email},
            "committer": {"name": facts.committer.name, "email": facts.committer.email},
            "added": paths(&[FileStatus::Added, FileStatus::Renamed]),
            "removed": paths(&[FileStatus::Removed]),
            "modified": paths(&[FileStatus::Modified]),
        }))
    }

    fn emit_delete_event(&mut self, name: &str) {
        let (kind, short) = match (name.strip_prefix("refs/heads/"), name.strip_prefix("refs/tags/")) {
            (Some(branch), _) => ("branch", branch),
            (None, Some(tag)) => ("tag", tag),
            (None, None) => return,
        };
        self.emit("delete", None, json!({"ref": short, "ref_type": kind, "pusher_type": "user"}));
    }
}
