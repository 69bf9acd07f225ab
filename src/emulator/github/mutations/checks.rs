//! Check runs of other Apps.

use serde_json::json;

use super::actor::Actor;
use crate::git::GitError;
use crate::github::data::CheckRun;
use crate::github::shapes;

impl Actor<'_> {
    /// Reports a failed check of another App on a branch's head. False means that there is no such branch.
    pub(crate) fn fail_check(&mut self, branch: &str, name: &str, summary: &str) -> Result<bool, GitError> {
        let Some(head_sha) = self.repo().git.branch(branch)? else { return Ok(false) };
        let app = self.login.strip_suffix("[bot]").unwrap_or(self.login);
        let run = CheckRun {
            other_app: Some(app.to_owned()),
            status: "completed".to_owned(),
            conclusion: Some("failure".to_owned()),
            external_id: Some(String::new()),
            details_url: Some("https://ci.example.com/".to_owned()),
            completed_at: Some(self.now),
            title: Some(format!("{name} failed")),
            summary: Some(summary.to_owned()),
            ..CheckRun::queued(self.db.next_id(), name.to_owned(), head_sha, self.now)
        };
        let shape = shapes::check_run(self.db, self.repo(), &run);
        self.repo_mut().check_runs.push(run);
        self.emit("check_run", Some("completed"), json!({"check_run": shape}));
        Ok(true)
    }
}
