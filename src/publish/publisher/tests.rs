//! Publishing twice, after a crash, and next to people, with a GitHub in memory.

use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use super::super::test_evidence::{at, fixed, long};
use super::*;
use crate::domain::{BudgetExhausted, CommentId, FailedCheck, Login, Permission, PullRequestNumber, Sha};
use crate::github::{
    AppIdentity, CheckRun, CreatedCommit, GitAccess, Issue, Label, NewCommit, Repository, ReviewComment,
    Reviewers, SubmoduleAccess, SubmoduleRequest,
};

/// Comments by issue and pull requests by branch; the rest of the port is not needed here.
#[derive(Default)]
struct Memory {
    comments: Vec<(IssueNumber, Comment)>,
    pulls: Vec<(String, PullRequest)>,
    /// What was called, for counting.
    calls: Vec<&'static str>,
    /// Whether another worker opens the pull request while we look.
    raced: bool,
    /// Whether creating fails after this many comments.
    comments_max: Option<usize>,
}

#[derive(Default)]
struct InMemory(Mutex<Memory>);

impl InMemory {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap()
    }

    fn count(&self, call: &str) -> usize {
        self.lock().calls.iter().filter(|made| **made == call).count()
    }

    fn bodies(&self, issue: u64) -> Vec<String> {
        let memory = self.lock();
        memory.comments.iter().filter(|(at, _)| at.0 == issue).map(|(_, c)| c.body.clone()).collect()
    }
}

fn pull(new: &NewPullRequest, number: u64) -> PullRequest {
    PullRequest {
        number: PullRequestNumber(number),
        html_url: format!("https://github.example/octo/widgets/pull/{number}"),
        draft: true,
        head: new.head.clone(),
        head_sha: "c".repeat(40).parse::<Sha>().unwrap(),
        body: new.body.clone(),
    }
}

#[async_trait]
impl GitHub for InMemory {
    async fn our_comments(
        &self,
        _: &RepositoryRef,
        number: IssueNumber,
    ) -> Result<Vec<Comment>, GitHubError> {
        Ok(self.lock().comments.iter().filter(|(at, _)| *at == number).map(|(_, c)| c.clone()).collect())
    }

    async fn create_comment(
        &self,
        _: &RepositoryRef,
        number: IssueNumber,
        body: &str,
    ) -> Result<Comment, GitHubError> {
        let mut memory = self.lock();
        if memory.comments_max.is_some_and(|max| memory.comments.len() >= max) {
            let retry_after = std::time::Duration::from_secs(1);
            return Err(GitHubError::Unavailable {
                what: "comment".into(),
                detail: "502".into(),
                retry_after,
            });
        }
        memory.calls.push("create comment");
        let id = CommentId(memory.comments.len() as u64 + 100);
        // GitHub hands bodies back without the last line end.
        let comment = Comment {
            id,
            html_url: format!("#{id}"),
            updated_at: jiff::Timestamp::UNIX_EPOCH,
            is_edited: false,
            body: body.trim_end().to_owned(),
        };
        memory.comments.push((number, comment.clone()));
        Ok(comment)
    }

    async fn update_comment(&self, _: &RepositoryRef, id: CommentId, body: &str) -> Result<(), GitHubError> {
        let mut memory = self.lock();
        memory.calls.push("update comment");
        match memory.comments.iter_mut().find(|(_, comment)| comment.id == id) {
            Some((_, comment)) => body.clone_into(&mut comment.body),
            None => {
                return Err(GitHubError::NotFound { what: "comment".into(), detail: "gone".into() });
            }
        }
        Ok(())
    }

    async fn find_pull_request(
        &self,
        _: &RepositoryRef,
        branch: &str,
    ) -> Result<Option<PullRequest>, GitHubError> {
        Ok(self.lock().pulls.iter().find(|(head, _)| head == branch).map(|(_, pull)| pull.clone()))
    }

    async fn create_draft_pull_request(
        &self,
        _: &RepositoryRef,
        new: &NewPullRequest,
    ) -> Result<PullRequest, GitHubError> {
        let mut memory = self.lock();
        if memory.raced {
            memory.pulls.push((new.head.clone(), pull(new, 8)));
            return Err(GitHubError::Rejected {
                what: "pull request".into(),
                detail: "already exists".into(),
            });
        }
        memory.calls.push("create pull request");
        memory.pulls.push((new.head.clone(), pull(new, 8)));
        Ok(pull(new, 8))
    }

    async fn update_pull_request(
        &self,
        _: &RepositoryRef,
        number: PullRequestNumber,
        _: &str,
        body: &str,
    ) -> Result<(), GitHubError> {
        let mut memory = self.lock();
        memory.calls.push("update pull request");
        let (_, pull) = memory.pulls.iter_mut().find(|(_, pull)| pull.number == number).unwrap();
        body.clone_into(&mut pull.body);
        Ok(())
    }

    async fn repository(&self, _: &RepositoryRef) -> Result<Repository, GitHubError> {
        unreachable!("publishing does not ask for the repository")
    }
    async fn permission(&self, _: &RepositoryRef, _: &Login) -> Result<Permission, GitHubError> {
        unreachable!("publishing does not ask for permissions")
    }
    async fn issue(&self, _: &RepositoryRef, _: IssueNumber) -> Result<Issue, GitHubError> {
        unreachable!("publishing does not read issues")
    }
    async fn branch_head(&self, _: &RepositoryRef, _: &str) -> Result<Option<Sha>, GitHubError> {
        unreachable!("publishing does not read branches")
    }
    async fn react_with_eyes(&self, _: &RepositoryRef, _: IssueNumber) -> Result<(), GitHubError> {
        unreachable!("publishing does not react")
    }
    async fn react_to_comment(&self, _: &RepositoryRef, _: CommentId) -> Result<(), GitHubError> {
        unreachable!("publishing does not react")
    }
    async fn comments(
        &self,
        _: &RepositoryRef,
        _: IssueNumber,
    ) -> Result<Vec<crate::github::IssueComment>, GitHubError> {
        unreachable!("publishing reads no comments of others")
    }
    async fn closing_pull_requests(
        &self,
        _: &RepositoryRef,
        _: &crate::domain::RepositoryName,
        _: IssueNumber,
    ) -> Result<Vec<crate::github::ClosingPullRequest>, GitHubError> {
        unreachable!("admission is before publishing")
    }
    async fn commit_on_branch(&self, _: &RepositoryRef, _: &NewCommit) -> Result<CreatedCommit, GitHubError> {
        unreachable!("commits are made before publishing")
    }
    async fn publish_check(&self, _: &RepositoryRef, _: &CheckRun) -> Result<(), GitHubError> {
        unreachable!("checks are not part of these tests")
    }
    async fn add_label(&self, _: &RepositoryRef, _: IssueNumber, _: &Label) -> Result<(), GitHubError> {
        unreachable!("labels are not part of these tests")
    }
    async fn remove_label(&self, _: &RepositoryRef, _: IssueNumber, _: &str) -> Result<(), GitHubError> {
        unreachable!("labels are not part of these tests")
    }
    async fn request_reviews(
        &self,
        _: &RepositoryRef,
        _: PullRequestNumber,
        _: &Reviewers,
    ) -> Result<(), GitHubError> {
        unreachable!("reviews are not part of these tests")
    }
    async fn failed_checks(&self, _at: &RepositoryRef, _head: &Sha) -> Result<Vec<FailedCheck>, GitHubError> {
        unreachable!("checks are not part of these tests")
    }

    async fn review_comments(
        &self,
        _at: &RepositoryRef,
        _number: PullRequestNumber,
    ) -> Result<Vec<ReviewComment>, GitHubError> {
        unreachable!("reviews are not part of these tests")
    }

    async fn reply_in_thread(
        &self,
        _at: &RepositoryRef,
        _number: PullRequestNumber,
        _first: CommentId,
        _body: &str,
    ) -> Result<(), GitHubError> {
        unreachable!("threads are not part of these tests")
    }

    async fn git_access(&self, _: &RepositoryRef) -> Result<GitAccess, GitHubError> {
        unreachable!("publishing does not use git")
    }
    async fn submodule_access(
        &self,
        _: &RepositoryRef,
        _: SubmoduleRequest<'_>,
        _: &Login,
    ) -> Result<SubmoduleAccess, GitHubError> {
        unreachable!("publishing does not use git")
    }
    async fn app_identity(&self) -> Result<AppIdentity, GitHubError> {
        unreachable!("publishing does not need the App's name")
    }
}

fn budget() -> EscalationReason {
    EscalationReason::Budget { limit: BudgetExhausted::Turns { max: 3 } }
}

#[tokio::test]
async fn proposal_published_twice_is_one_pull_request() {
    let github = InMemory::default();
    let (mut evidence, verified) = fixed();
    let first = publish_proposal(&github, evidence.job(), &evidence, &verified, "main").await.unwrap();
    let again = publish_proposal(&github, evidence.job(), &evidence, &verified, "main").await.unwrap();
    assert_eq!(first.number, again.number);
    assert_eq!(github.lock().calls, ["create pull request"]);

    evidence.summary = Some("A better summary.".to_owned());
    let updated = publish_proposal(&github, evidence.job(), &evidence, &verified, "main").await.unwrap();
    assert!(updated.body.contains("A better summary."));
    assert_eq!(github.lock().calls, ["create pull request", "update pull request"]);
}

#[tokio::test]
async fn second_worker_finds_the_pull_request_of_the_first() {
    let github = InMemory::default();
    github.lock().raced = true;
    let (evidence, verified) = fixed();
    let found = publish_proposal(&github, evidence.job(), &evidence, &verified, "main").await.unwrap();
    assert_eq!(found.number, PullRequestNumber(8));
    assert_eq!(github.lock().pulls.len(), 1);
}

#[tokio::test]
async fn body_rewritten_by_a_person_stays_and_evidence_comes_as_one_comment() {
    let github = InMemory::default();
    let (evidence, verified) = fixed();
    publish_proposal(&github, evidence.job(), &evidence, &verified, "main").await.unwrap();
    github.lock().pulls[0].1.body = "Rewritten by Grace.".to_owned();
    for _ in 0..2 {
        publish_proposal(&github, evidence.job(), &evidence, &verified, "main").await.unwrap();
    }
    assert_eq!(github.lock().pulls[0].1.body, "Rewritten by Grace.");
    assert_eq!(github.bodies(8).len(), 1);
    assert_eq!(github.count("update pull request"), 0);
}

#[tokio::test]
async fn interrupted_escalation_is_completed_without_duplicates() {
    let github = InMemory::default();
    let evidence = long();
    github.lock().comments_max = Some(2);
    assert!(publish_escalation(&github, evidence.job(), &evidence, &budget()).await.is_err());
    assert_eq!(github.bodies(7).len(), 2);

    github.lock().comments_max = None;
    let expected = escalation::render(&evidence, &budget());
    for _ in 0..2 {
        let first = publish_escalation(&github, evidence.job(), &evidence, &budget()).await.unwrap();
        assert_eq!(first, "#100");
    }
    let bodies = github.bodies(7);
    assert_eq!(bodies.len(), expected.len());
    assert!(bodies.iter().zip(&expected).all(|(posted, wanted)| is_same_text(posted, wanted)));
    assert_eq!(github.count("update comment"), 0);
}

#[tokio::test]
async fn comment_that_quotes_our_marker_is_not_ours() {
    let github = InMemory::default();
    let (evidence, _) = fixed();
    let marker = evidence.marker(MarkerKind::Progress);
    github.create_comment(&at(), IssueNumber(7), &format!("> {marker}\nquoted")).await.unwrap();
    let comment = update_progress(&github, evidence.job(), &evidence).await.unwrap();
    assert_eq!(comment.id, CommentId(101));
}

#[tokio::test]
async fn progress_comment_is_posted_once_and_again_after_deletion() {
    let github = InMemory::default();
    let (mut evidence, _) = fixed();
    let id = update_progress(&github, evidence.job(), &evidence).await.unwrap().id;
    for _ in 0..2 {
        evidence.spend.turns += 1;
        assert_eq!(update_progress(&github, evidence.job(), &evidence).await.unwrap().id, id);
    }
    assert_eq!((github.count("create comment"), github.count("update comment")), (1, 2));

    github.lock().comments.clear();
    update_progress(&github, evidence.job(), &evidence).await.unwrap();
    assert_eq!(github.bodies(7).len(), 1);
}
