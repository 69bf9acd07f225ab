//! Commits as plain data.

use git2::{Oid, Repository};

use super::error::GitError;
use super::repository::BareRepository;

/// How many commits a list has at most: GitHub stops at 250 as well.
const COMMITS_LISTED_MAX: usize = 250;

/// The author or committer of a commit, and the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Name.
    pub name: String,
    /// E-mail address.
    pub email: String,
    /// Seconds since 1970.
    pub at_seconds: i64,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFacts {
    /// Its id.
    pub sha: String,
    /// Its tree's id.
    pub tree: String,
    /// Its parents' ids.
    pub parents: Vec<String>,
    /// Its whole message.
    pub message: String,
    /// The author.
    pub author: Person,
    /// The committer.
    pub committer: Person,
}

impl BareRepository {
    /// One commit by its full id.
    pub fn commit(&self, sha: &str) -> Result<CommitFacts, GitError> {
        let git = self.open()?;
        Ok(commit_facts(&git, Oid::from_str(sha)?)?)
    }

    /// The commits that `head` has and `base` has not, oldest first, at most 250.
    pub fn commits_between(&self, base: Option<&str>, head: &str) -> Result<Vec<CommitFacts>, GitError> {
        let git = self.open()?;
        let mut walk = git.revwalk()?;
        walk.set_sorting(git2::Sort::TOPOLOGICAL | git2::Sort::TIME)?;
        walk.push(Oid::from_str(head)?)?;
        if let Some(base) = base {
            walk.hide(Oid::from_str(base)?)?;
        }
        let mut commits = Vec::new();
        for oid in walk.take(COMMITS_LISTED_MAX) {
            commits.push(commit_facts(&git, oid?)?);
        }
        commits.reverse();
        Ok(commits)
    }
}

fn commit_facts(git: &Repository, oid: Oid) -> Result<CommitFacts, git2::Error> {
    let commit = git.find_commit(oid)?;
    Ok(CommitFacts {
        sha: oid.to_string(),
        tree: commit.tree_id().to_string(),
        parents: commit.parent_ids().map(|parent| parent.to_string()).collect(),
        message: String::from_utf8_lossy(commit.message_bytes()).into_owned(),
        author: person(&commit.author()),
        committer: person(&commit.committer()),
    })
}

fn person(signature: &git2::Signature<'_>) -> Person {
    Person {
        name: String::from_utf8_lossy(signature.name_bytes()).into_owned(),
        email: String::from_utf8_lossy(signature.email_bytes()).into_owned(),
        at_seconds: signature.when().seconds(),
    }
}
