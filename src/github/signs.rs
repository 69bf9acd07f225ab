//! What people see beside comments: check runs, labels, requests for review.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use super::GitHubError;
use super::app_client::PAGE_ENTRIES;
use super::client::{OctocrabGitHub, encoded, repo_path};
use super::transport::Call;
use crate::domain::{FailedCheck, IssueNumber, LabelName, PullRequestNumber, RepositoryRef, Sha};

/// A completed check run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRun {
    /// Its name; a commit has one of it by us.
    pub name: String,
    /// The commit that it stands at.
    pub head: Sha,
    /// Our own reference: the job's id.
    pub external_id: String,
    /// What came of it.
    pub conclusion: CheckConclusion,
    /// One line.
    pub title: String,
    /// Markdown, at most 65,535 characters.
    pub summary: String,
    /// At most fifty.
    pub annotations: Vec<Annotation>,
}

/// What a check run comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckConclusion {
    /// All is well.
    Success,
    /// Neither well nor wrong: somebody has to look.
    Neutral,
}

/// A remark at a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// The file.
    pub path: String,
    /// From 1.
    pub line: u32,
    /// How loud it is.
    pub level: AnnotationLevel,
    /// One line of plain text, at most 255 characters.
    pub title: String,
    /// Plain text.
    pub message: String,
}

/// How loud an annotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnotationLevel {
    /// Worth knowing.
    Notice,
    /// Worth looking at.
    Warning,
}

/// A label of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its name, at most fifty characters.
    pub name: LabelName,
    /// Six hexadecimal digits.
    pub color: String,
    /// At most a hundred characters.
    pub description: String,
}

/// Who is asked for a review.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reviewers {
    /// Logins.
    pub users: Vec<String>,
    /// Slugs of teams of the repository's organisation.
    pub teams: Vec<String>,
}

impl Reviewers {
    /// Whether it is nobody.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.teams.is_empty()
    }

    /// Each of them alone.
    pub fn individually(&self) -> Vec<Self> {
        let users = self.users.iter().map(|user| Self { users: vec![user.clone()], teams: Vec::new() });
        let teams = self.teams.iter().map(|team| Self { users: Vec::new(), teams: vec![team.clone()] });
        users.chain(teams).collect()
    }
}

impl fmt::Display for Reviewers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let teams = self.teams.iter().map(|team| format!("team {team}"));
        let all: Vec<String> = self.users.iter().cloned().chain(teams).collect();
        f.write_str(if all.is_empty() { "nobody" } else { "" })?;
        f.write_str(&all.join(", "))
    }
}

#[derive(Deserialize)]
struct RawCheckRuns {
    check_runs: Vec<RawCheckRun>,
}

#[derive(Deserialize)]
struct RawCheckRun {
    id: u64,
    app: Option<RawAppId>,
    #[serde(default)]
    name: String,
    conclusion: Option<String>,
    output: Option<RawOutput>,
}

#[derive(Deserialize)]
struct RawOutput {
    title: Option<String>,
    summary: Option<String>,
}

#[derive(Deserialize)]
struct RawAppId {
    id: u64,
}

impl RawCheckRun {
    fn failed(self) -> Option<FailedCheck> {
        let conclusion = self.conclusion.filter(|word| matches!(word.as_str(), "failure" | "timed_out"))?;
        let output = self.output.map(|output| [output.title, output.summary]).unwrap_or_default();
        let text = output.into_iter().flatten().collect::<Vec<_>>().join("\n\n");
        Some(FailedCheck { name: self.name, conclusion, text })
    }
}

impl OctocrabGitHub {
    pub(super) async fn make_check(&self, at: &RepositoryRef, check: &CheckRun) -> Result<(), GitHubError> {
        let annotation = |annotation: &Annotation| {
            json!({
                "path": annotation.path,
                "start_line": annotation.line,
                "end_line": annotation.line,
                "annotation_level": match annotation.level {
                    AnnotationLevel::Notice => "notice",
                    AnnotationLevel::Warning => "warning",
                },
                "title": annotation.title,
                "message": annotation.message,
            })
        };
        let mut body = json!({
            "name": check.name,
            "external_id": check.external_id,
            "status": "completed",
            "conclusion": match check.conclusion {
                CheckConclusion::Success => "success",
                CheckConclusion::Neutral => "neutral",
            },
            "output": {
                "title": check.title,
                "summary": check.summary,
                "annotations": check.annotations.iter().map(annotation).collect::<Vec<_>>(),
            },
        });
        let what = format!("making the check run {:?} at {} of {}", check.name, check.head.short(), at.name);
        match self.check_of_ours(at, check).await? {
            Some(id) => {
                // Annotations are added to those that are there: it has them already.
                if let Some(output) = body["output"].as_object_mut() {
                    output.remove("annotations");
                }
                let path = format!("{}/check-runs/{id}", repo_path(at));
                self.ask(at, &Call::patch(what, path, body)).await.map(drop)
            }
            None => {
                body["head_sha"] = Value::from(check.head.as_str());
                let path = format!("{}/check-runs", repo_path(at));
                self.ask(at, &Call::post(what, path, body)).await.map(drop)
            }
        }
    }

    /// The check run with this name that this App made at this commit.
    async fn check_of_ours(&self, at: &RepositoryRef, check: &CheckRun) -> Result<Option<u64>, GitHubError> {
        let path = format!(
            "{}/commits/{}/check-runs?check_name={}&per_page={PAGE_ENTRIES}",
            repo_path(at),
            check.head,
            encoded(&check.name)
        );
        let what = format!("looking for the check run {:?} in {}", check.name, at.name);
        let found: RawCheckRuns = self.ask_for(at, &Call::get(what, path)).await?;
        let ours = |run: &&RawCheckRun| run.app.as_ref().is_some_and(|app| app.id == self.app_id());
        Ok(found.check_runs.iter().find(ours).map(|run| run.id))
    }

    /// The check runs of others that failed at a commit: the newest of each name, the first hundred.
    pub(super) async fn failed_checks_of(
        &self,
        at: &RepositoryRef,
        head: &Sha,
    ) -> Result<Vec<FailedCheck>, GitHubError> {
        let path =
            format!("{}/commits/{head}/check-runs?status=completed&per_page={PAGE_ENTRIES}", repo_path(at));
        let what = format!("reading the check runs at {} of {}", head.short(), at.name);
        let found: RawCheckRuns = self.ask_for(at, &Call::get(what, path)).await?;
        let own = self.app_id();
        let others =
            found.check_runs.into_iter().filter(|run| run.app.as_ref().is_none_or(|app| app.id != own));
        Ok(others.filter_map(RawCheckRun::failed).collect())
    }

    pub(super) async fn put_label(
        &self,
        at: &RepositoryRef,
        number: IssueNumber,
        label: &Label,
    ) -> Result<(), GitHubError> {
        // GitHub would make a label of that name by itself, without colour and words.
        let path = format!("{}/labels/{}", repo_path(at), encoded(label.name.as_str()));
        let known = self.ask(at, &Call::get(format!("looking for the label {:?}", label.name), path)).await;
        match known {
            Ok(_) => {}
            Err(GitHubError::NotFound { .. }) => {
                let body = json!({
                    "name": label.name, "color": label.color, "description": label.description,
                });
                let what = format!("making the label {:?} in {}", label.name, at.name);
                let made = self.ask(at, &Call::post(what, format!("{}/labels", repo_path(at)), body)).await;
                match made {
                    // Somebody else was first.
                    Ok(_) | Err(GitHubError::Rejected { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
        let path = format!("{}/issues/{number}/labels", repo_path(at));
        let what = format!("labelling {}#{number}", at.name);
        // Twice is as good as once.
        self.ask(at, &Call::post(what, path, json!({"labels": [label.name]})).repeatable()).await.map(drop)
    }

    pub(super) async fn take_label(
        &self,
        at: &RepositoryRef,
        number: IssueNumber,
        name: &str,
    ) -> Result<(), GitHubError> {
        let path = format!("{}/issues/{number}/labels/{}", repo_path(at), encoded(name));
        let what = format!("taking the label {name:?} off {}#{number}", at.name);
        match self.ask(at, &Call::delete(what, path)).await {
            Ok(_) | Err(GitHubError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn ask_for_reviews(
        &self,
        at: &RepositoryRef,
        number: PullRequestNumber,
        reviewers: &Reviewers,
    ) -> Result<(), GitHubError> {
        let path = format!("{}/pulls/{number}/requested_reviewers", repo_path(at));
        let what = format!("asking for reviews of {}#{number}", at.name);
        let body = json!({"reviewers": reviewers.users, "team_reviewers": reviewers.teams});
        self.ask(at, &Call::post(what, path, body).repeatable()).await.map(drop)
    }
}
