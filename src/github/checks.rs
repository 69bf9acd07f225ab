//! Check runs. octocrab's model does not say which App made a check run, so it is read here.

use serde::Deserialize;
use serde_json::{Value, json};

use super::api_client::{ApiClient, Sender};
use super::error::GitHubError;
use super::pages::PAGE_ENTRIES;
use super::paths::{encode_segment, repository_path};
use super::request::ApiRequest;
use super::types::{Annotation, AnnotationLevel, CheckConclusion, CheckRun};
use super::wire::RawAppId;
use crate::domain::{FailedCheck, RepositoryRef, Sha};

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

impl RawCheckRun {
    fn is_by(&self, app_id: u64) -> bool {
        self.app.as_ref().is_some_and(|app| app.id == app_id)
    }

    fn into_failed_check(self) -> Option<FailedCheck> {
        let conclusion = self.conclusion.filter(|word| matches!(word.as_str(), "failure" | "timed_out"))?;
        let output = self.output.map(|output| [output.title, output.summary]).unwrap_or_default();
        let text = output.into_iter().flatten().collect::<Vec<_>>().join("\n\n");
        Some(FailedCheck { name: self.name, conclusion, text })
    }
}

/// Creates a check run, or updates the one of the same name that this App made at the same commit.
pub(super) async fn publish(
    client: &ApiClient,
    repository: &RepositoryRef,
    check: &CheckRun,
) -> Result<(), GitHubError> {
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
            "annotations": check.annotations.iter().map(annotation_json).collect::<Vec<_>>(),
        },
    });
    let (name, head) = (&check.name, check.head.short());
    let what = format!("publishing the check run {name:?} at {head} of {}", repository.name);
    let path = format!("{}/check-runs", repository_path(repository));
    let request = match find_own(client, repository, check).await? {
        Some(id) => {
            // GitHub adds annotations to those that are there, and ours are there already.
            if let Some(output) = body["output"].as_object_mut() {
                output.remove("annotations");
            }
            ApiRequest::patch(what, format!("{path}/{id}"), body)
        }
        None => {
            body["head_sha"] = Value::from(check.head.as_str());
            ApiRequest::post(what, path, body)
        }
    };
    client.send(Sender::Repository(repository), &request).await.map(drop)
}

/// The check runs of other Apps that failed at a commit: the newest of each name, at most a hundred.
pub(super) async fn failed(
    client: &ApiClient,
    repository: &RepositoryRef,
    head: &Sha,
) -> Result<Vec<FailedCheck>, GitHubError> {
    let path = format!(
        "{}/commits/{head}/check-runs?status=completed&per_page={PAGE_ENTRIES}",
        repository_path(repository)
    );
    let what = format!("reading the check runs at {} of {}", head.short(), repository.name);
    let found: RawCheckRuns =
        client.get(Sender::Repository(repository), &ApiRequest::get(what, path)).await?;
    let by_others = found.check_runs.into_iter().filter(|run| !run.is_by(client.app_id));
    Ok(by_others.filter_map(RawCheckRun::into_failed_check).collect())
}

/// The id of the check run with this name that this App made at this commit.
async fn find_own(
    client: &ApiClient,
    repository: &RepositoryRef,
    check: &CheckRun,
) -> Result<Option<u64>, GitHubError> {
    let path = format!(
        "{}/commits/{}/check-runs?check_name={}&per_page={PAGE_ENTRIES}",
        repository_path(repository),
        check.head,
        encode_segment(&check.name)
    );
    let what = format!("looking for the check run {:?} in {}", check.name, repository.name);
    let found: RawCheckRuns =
        client.get(Sender::Repository(repository), &ApiRequest::get(what, path)).await?;
    Ok(found.check_runs.iter().find(|run| run.is_by(client.app_id)).map(|run| run.id))
}

fn annotation_json(annotation: &Annotation) -> Value {
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
}
