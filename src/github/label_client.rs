//! What reconciliation asks of GitHub: failed deliveries, and which issues carry a label, put on by
//! whom. Every list is read to its last page, up to a bound.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use url::form_urlencoded;

use super::app_client::{AppClient, PAGE_ENTRIES, WebhookDelivery};
use super::client::repo_path;
use super::refusal::{accepted, read};
use super::transport::{Answer, Call};
use super::wire::{RawIssue, RawUser, nonsense};
use super::{GHOST, GitHubError};
use crate::domain::{InstallationId, IssueNumber, IssueSnapshot, LabelName, RepositoryId, RepositoryRef};
use crate::secrets::{SecretKind, register_until};

/// Of failed deliveries, of an installation's repositories, of an issue's events.
const PAGES_MAX: usize = 20;
const LIFE_LEFT_MIN: SignedDuration = SignedDuration::from_mins(2);
/// Installations whose tokens are kept.
const TOKENS_KEPT_MAX: usize = 500;

/// Tokens by installation: they may read what the App may read, and write nothing.
#[derive(Default)]
pub(super) struct ReadingTokens(Mutex<HashMap<u64, (SecretString, Timestamp)>>);

/// An open issue that carries the label.
#[derive(Debug, Clone)]
pub struct LabelledIssue {
    /// As it is now.
    pub snapshot: IssueSnapshot,
    /// When anything about it last changed.
    pub updated_at: Timestamp,
}

/// A repository's labelled issues.
#[derive(Debug)]
pub enum LabelledPage {
    /// They are as they were when they had the tag.
    Unchanged,
    /// They are these.
    Issues {
        /// The issues, without pull requests.
        issues: Vec<LabelledIssue>,
        /// What to ask with next time; `None` where there are more.
        tag: Option<String>,
    },
}

/// Somebody put a label on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelEvent {
    /// GitHub's id of the event.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub labeller: String,
    /// GitHub's id of the account.
    pub labeller_id: u64,
    /// Whether it is a bot.
    pub labeller_is_bot: bool,
}

#[derive(Deserialize)]
struct Minted {
    token: SecretString,
    expires_at: Timestamp,
}

#[derive(Deserialize)]
struct RawRepositories {
    repositories: Vec<RawReference>,
}

#[derive(Deserialize)]
struct RawReference {
    id: u64,
    full_name: String,
    #[serde(default)]
    archived: bool,
}

#[derive(Deserialize)]
struct RawListed {
    updated_at: Timestamp,
    #[serde(flatten)]
    issue: RawIssue,
}

#[derive(Deserialize)]
struct RawEvent {
    id: u64,
    event: String,
    actor: Option<RawUser>,
    created_at: Timestamp,
    label: Option<RawLabelName>,
}

#[derive(Deserialize)]
struct RawLabelName {
    name: LabelName,
}

impl AppClient {
    /// The attempts to deliver that failed since `since`, newest first.
    pub async fn failed_deliveries(&self, since: Timestamp) -> Result<Vec<WebhookDelivery>, GitHubError> {
        let what = "reading the App's failed deliveries";
        let mut path = format!("/app/hook/deliveries?status=failure&per_page={PAGE_ENTRIES}");
        let mut failed = Vec::new();
        for _ in 0..PAGES_MAX {
            let call = Call::get(what, path);
            let answer = accepted(&call, self.send(&call).await?, self.transport.now())?;
            let page: Vec<WebhookDelivery> = read(&call, &answer)?;
            let reaches_back = page.iter().any(|attempt| attempt.delivered_at < since);
            // An older server may not know the filter.
            failed.extend(
                page.into_iter().filter(|attempt| attempt.delivered_at >= since && !attempt.arrived()),
            );
            match self.transport.next_page(&call, &answer)? {
                Some(next) if !reaches_back => path = next,
                Some(_) | None => break,
            }
        }
        Ok(failed)
    }

    /// Has GitHub send a delivery again.
    pub async fn redeliver(&self, attempt: u64) -> Result<(), GitHubError> {
        let path = format!("/app/hook/deliveries/{attempt}/attempts");
        let call = Call { body: None, ..Call::post("having a delivery sent again", path, json!(null)) };
        accepted(&call, self.send(&call).await?, self.transport.now()).map(drop)
    }

    /// The repositories that an installation covers, archived ones left out; at most two thousand.
    pub async fn repositories(&self, installation: u64) -> Result<Vec<RepositoryRef>, GitHubError> {
        let what = format!("reading the repositories of installation {installation}");
        let mut path = format!("/installation/repositories?per_page={PAGE_ENTRIES}");
        let mut all = Vec::new();
        for _ in 0..PAGES_MAX {
            let call = Call::get(&what, path);
            let answer = self.ask(installation, &call).await?;
            let page: RawRepositories = read(&call, &answer)?;
            for raw in page.repositories.into_iter().filter(|repository| !repository.archived) {
                all.push(RepositoryRef {
                    installation: InstallationId(installation),
                    id: RepositoryId(raw.id),
                    name: raw.full_name.parse().map_err(|error| nonsense(&what, error))?,
                });
            }
            match self.transport.next_page(&call, &answer)? {
                Some(next) => path = next,
                None => break,
            }
        }
        Ok(all)
    }

    /// The open issues with a label, at most `issues_max` and what the last page has beyond: those that
    /// changed last, which a new label does, and of them the oldest change first. With the tag of the last
    /// time GitHub need not say again what has not changed.
    pub async fn labelled_issues(
        &self,
        at: &RepositoryRef,
        label: &str,
        issues_max: usize,
        tag: Option<&str>,
    ) -> Result<LabelledPage, GitHubError> {
        let what = format!("looking for issues with the label {label:?} in {}", at.name);
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("labels", label)
            .append_pair("state", "open")
            .append_pair("sort", "updated")
            .append_pair("direction", "desc")
            .append_pair("per_page", &PAGE_ENTRIES.to_string())
            .finish();
        let mut path = format!("{}/issues?{query}", repo_path(at));
        let (mut issues, mut new_tag) = (Vec::new(), None);
        for number in 0.. {
            let mut call = Call::get(&what, path);
            call.if_none_match = tag.filter(|_| number == 0).map(str::to_owned);
            let answer = self.ask(at.installation.0, &call).await?;
            if answer.status == StatusCode::NOT_MODIFIED {
                return Ok(LabelledPage::Unchanged);
            }
            let page: Vec<RawListed> = read(&call, &answer)?;
            for raw in page {
                let issue = raw.issue.meaning().map_err(|error| nonsense(&what, error))?;
                if !issue.is_pull_request && issue.open {
                    issues.push(LabelledIssue { snapshot: issue.snapshot, updated_at: raw.updated_at });
                }
            }
            let etag = answer.headers.get(http::header::ETAG).and_then(|value| value.to_str().ok());
            // Whatever changes comes to the first page.
            if number == 0 {
                new_tag = etag.map(str::to_owned);
            }
            match self.transport.next_page(&call, &answer)? {
                Some(next) if issues.len() < issues_max => path = next,
                Some(_) => {
                    new_tag = None;
                    break;
                }
                None => break,
            }
        }
        issues.reverse();
        Ok(LabelledPage::Issues { issues, tag: new_tag })
    }

    /// The last time that a label was put on an issue; `None`: never, as far as GitHub says.
    pub async fn last_label_event(
        &self,
        at: &RepositoryRef,
        number: IssueNumber,
        label: &str,
    ) -> Result<Option<LabelEvent>, GitHubError> {
        let what = format!("reading who labelled {}#{number}", at.name);
        let mut path = format!("{}/issues/{number}/events?per_page={PAGE_ENTRIES}", repo_path(at));
        let label = LabelName::from(label);
        let mut last = None;
        for _ in 0..PAGES_MAX {
            let call = Call::get(&what, path);
            let answer = self.ask(at.installation.0, &call).await?;
            let page: Vec<RawEvent> = read(&call, &answer)?;
            // Oldest first, and pages too.
            last = page.into_iter().rev().find(|event| event.puts_on(&label)).or(last);
            match self.transport.next_page(&call, &answer)? {
                Some(next) => path = next,
                None => break,
            }
        }
        Ok(last.map(RawEvent::meaning))
    }

    /// Sends a call with a token of the installation that may read only, when its limits let it. A
    /// token that is refused is replaced once.
    async fn ask(&self, installation: u64, call: &Call) -> Result<Answer, GitHubError> {
        let at = InstallationId(installation);
        self.limits.admit(at, call, || self.transport.now()).await?;
        let token = self.reading_token(installation).await?;
        let mut answer = self.transport.send(call, Some(&token)).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            self.reading_tokens().remove(&installation);
            let token = self.reading_token(installation).await?;
            answer = self.transport.send(call, Some(&token)).await?;
        }
        let now = self.transport.now();
        let wait = self.limits.heed(at, &answer, now).await;
        match answer.status {
            StatusCode::NOT_MODIFIED => Ok(answer),
            _ => accepted(call, answer, now).map_err(|error| error.after(wait)),
        }
    }

    async fn reading_token(&self, installation: u64) -> Result<SecretString, GitHubError> {
        let now = self.transport.now();
        let kept = self.reading_tokens().get(&installation).cloned();
        if let Some((token, expires_at)) = kept
            && expires_at.duration_since(now) >= LIFE_LEFT_MIN
        {
            return Ok(token);
        }
        let what = format!("getting a token for installation {installation}");
        let body = json!({"permissions": {"metadata": "read", "issues": "read"}});
        let path = format!("/app/installations/{installation}/access_tokens");
        let call = Call::post(what, path, body).repeatable();
        let answer = accepted(&call, self.send(&call).await?, now)?;
        let minted: Minted = read(&call, &answer)?;
        register_until(SecretKind::InstallationToken, &minted.token, minted.expires_at, now);
        let mut tokens = self.reading_tokens();
        if tokens.len() >= TOKENS_KEPT_MAX {
            tokens.clear();
        }
        tokens.insert(installation, (minted.token.clone(), minted.expires_at));
        Ok(minted.token)
    }

    fn reading_tokens(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (SecretString, Timestamp)>> {
        // Every change to it is one call.
        self.reading.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RawEvent {
    fn puts_on(&self, label: &LabelName) -> bool {
        self.event == "labeled" && self.label.as_ref().is_some_and(|named| named.name == *label)
    }

    fn meaning(self) -> LabelEvent {
        let bot = self.actor.as_ref().is_some_and(RawUser::is_bot);
        let (login, id) = self.actor.map_or_else(|| (GHOST.to_owned(), 0), |actor| (actor.login, actor.id));
        LabelEvent {
            id: self.id,
            at: self.created_at,
            labeller: login,
            labeller_id: id,
            labeller_is_bot: bot,
        }
    }
}
