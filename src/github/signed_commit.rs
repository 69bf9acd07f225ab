//! A commit that GitHub makes by its API, and therefore signs. It is made on a branch of its own,
//! which is made first; whatever is there already is looked at, never overwritten.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{OctocrabGitHub, repo_path};
use super::transport::Call;
use super::wire::nonsense;
use super::{GitHub, GitHubError};
use crate::domain::{RepositoryRef, Sha};

const MUTATION: &str =
    "mutation($input: CreateCommitOnBranchInput!) { createCommitOnBranch(input: $input) { commit { oid } } }";

/// A commit to be made. It cannot set file modes: files that are there keep theirs, new ones are
/// ordinary. Made only of a commit that passed the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommit {
    /// The branch, which is made.
    pub branch: String,
    /// What it is made on top of.
    pub base: Sha,
    /// The whole message.
    pub message: String,
    /// Paths with their whole content.
    pub additions: Vec<(String, Vec<u8>)>,
    /// Paths.
    pub deletions: Vec<String>,
}

/// A commit as GitHub has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedCommit {
    /// Its id.
    pub sha: Sha,
    /// Its tree.
    pub tree: Sha,
    /// Its parents.
    pub parents: Vec<Sha>,
}

#[derive(Deserialize)]
struct RawCommit {
    sha: String,
    commit: RawCommitData,
    parents: Vec<RawSha>,
}

#[derive(Deserialize)]
struct RawCommitData {
    tree: RawSha,
}

#[derive(Deserialize)]
struct RawSha {
    sha: String,
}

#[derive(Deserialize)]
struct RawGraphQl {
    #[serde(default)]
    errors: Vec<RawError>,
}

#[derive(Deserialize)]
struct RawError {
    message: String,
}

impl OctocrabGitHub {
    pub(super) async fn make_signed_commit(
        &self,
        at: &RepositoryRef,
        new: &NewCommit,
    ) -> Result<CreatedCommit, GitHubError> {
        let branch = &new.branch;
        match self.branch_head(at, branch).await? {
            Some(head) if head == new.base => {}
            Some(head) => return self.commit_found(at, &head).await,
            None => {
                let body = json!({"ref": format!("refs/heads/{branch}"), "sha": new.base.as_str()});
                let what = format!("making the branch {branch:?} in {}", at.name);
                self.ask(at, &Call::post(what, format!("{}/git/refs", repo_path(at)), body)).await?;
            }
        }
        let what = format!("making a commit on {branch:?} in {}", at.name);
        // The name of today: GraphQL knows no ids here.
        let name = self.repository(at).await?.name;
        let call = Call::post(what.clone(), "/graphql", mutation(&name.to_string(), new)).verbatim();
        let answer = match self.ask_for::<RawGraphQl>(at, &call).await {
            answer @ (Ok(_) | Err(GitHubError::Unavailable { .. })) => answer,
            Err(error) => return Err(error),
        };
        // Also where no answer came, the commit may be there.
        let head = self.branch_head(at, branch).await?;
        match (head.filter(|head| *head != new.base), answer) {
            (Some(head), _) => self.commit_found(at, &head).await,
            (None, Err(error)) => Err(error),
            (None, Ok(answer)) => {
                let detail = answer.errors.into_iter().next().map(|error| error.message);
                let detail = detail.unwrap_or_else(|| "the branch has no new commit".to_owned());
                Err(GitHubError::Rejected { what, detail })
            }
        }
    }

    async fn commit_found(&self, at: &RepositoryRef, sha: &Sha) -> Result<CreatedCommit, GitHubError> {
        let call = Call::get(
            format!("reading commit {} of {}", sha.short(), at.name),
            format!("{}/commits/{sha}", repo_path(at)),
        );
        let raw: RawCommit = self.ask_for(at, &call).await?;
        let parse = |text: &str| text.parse::<Sha>().map_err(|error| nonsense(&call.what, error));
        Ok(CreatedCommit {
            sha: parse(&raw.sha)?,
            tree: parse(&raw.commit.tree.sha)?,
            parents: raw.parents.iter().map(|parent| parse(&parent.sha)).collect::<Result<_, _>>()?,
        })
    }
}

fn mutation(repository: &str, new: &NewCommit) -> Value {
    let (headline, body) = new.message.split_once('\n').unwrap_or((&new.message, ""));
    let addition =
        |(path, bytes): &(String, Vec<u8>)| json!({"path": path, "contents": STANDARD.encode(bytes)});
    json!({
        "query": MUTATION,
        "variables": {"input": {
            "branch": {"repositoryNameWithOwner": repository, "branchName": new.branch},
            "expectedHeadOid": new.base.as_str(),
            "message": {"headline": headline, "body": body.trim()},
            "fileChanges": {
                "additions": new.additions.iter().map(addition).collect::<Vec<_>>(),
                "deletions": new.deletions.iter().map(|path| json!({"path": path})).collect::<Vec<_>>(),
            },
        }},
    })
}
