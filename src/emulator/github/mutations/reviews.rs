//! Reviews of pull requests and their comments on lines.

use serde_json::json;

use super::actor::Actor;
use crate::github::data::{Review, ReviewComment};
use crate::github::shapes;

/// A review with its comments on lines.
#[derive(Debug)]
pub(crate) struct NewReview {
    /// `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`
    pub(crate) state: String,
    pub(crate) body: String,
    pub(crate) comments: Vec<NewReviewComment>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReviewComment {
    pub(crate) path: String,
    #[serde(default = "first_line")]
    pub(crate) line: u64,
    pub(crate) body: String,
}

fn first_line() -> u64 {
    1
}

impl Actor<'_> {
    /// Submits a review. Returns its id; `None` means that there is no such pull request.
    pub(crate) fn submit_review(&mut self, number: u64, new: NewReview) -> Option<u64> {
        let (login, now) = (self.login, self.now);
        let review = self.db.next_id();
        let comment_ids: Vec<u64> = new.comments.iter().map(|_| self.db.next_id()).collect();
        let issue = self.issue_mut(number)?;
        let pull = issue.pull.as_mut()?;
        let commit = pull.head_sha.clone();
        pull.reviews.push(Review {
            id: review,
            author: login.to_owned(),
            state: new.state,
            body: new.body,
            commit: commit.clone(),
            submitted_at: now,
        });
        for (id, comment) in comment_ids.iter().zip(new.comments) {
            pull.review_comments.push(ReviewComment {
                id: *id,
                review,
                author: login.to_owned(),
                body: comment.body,
                path: comment.path,
                line: comment.line,
                commit: commit.clone(),
                created_at: now,
            });
        }
        pull.requested_reviewers.retain(|reviewer| !reviewer.eq_ignore_ascii_case(login));
        issue.updated_at = now;
        self.emit_review_event(number, review);
        for id in comment_ids {
            self.emit_review_comment_event(number, id);
        }
        Some(review)
    }

    /// Replies to a comment on a line. Returns the reply's id; `None` means that there is no such comment.
    pub(crate) fn reply_to_review_comment(&mut self, number: u64, to: u64, body: String) -> Option<u64> {
        let (id, author, now) = (self.db.next_id(), self.login.to_owned(), self.now);
        let pull = self.repo_mut().pull_request_mut(number)?;
        let first = pull.review_comments.iter().find(|comment| comment.id == to)?.clone();
        pull.review_comments.push(ReviewComment { id, author, body, created_at: now, ..first });
        self.emit_review_comment_event(number, id);
        Some(id)
    }

    fn emit_review_event(&mut self, number: u64, id: u64) {
        let repository = self.repo();
        let Some((issue, pull)) = repository.pull_request(number) else { return };
        let Some(review) = pull.reviews.iter().find(|review| review.id == id) else { return };
        let mut shape = shapes::review(self.db, repository, issue, review);
        // Webhooks write the state in lower case, REST in upper case.
        shape["state"] = json!(review.state.to_lowercase());
        let pull = shapes::pull_simple(self.db, repository, issue, pull);
        self.emit("pull_request_review", Some("submitted"), json!({"review": shape, "pull_request": pull}));
    }

    fn emit_review_comment_event(&mut self, number: u64, id: u64) {
        let repository = self.repo();
        let Some((issue, pull)) = repository.pull_request(number) else { return };
        let Some(comment) = pull.review_comments.iter().find(|comment| comment.id == id) else { return };
        let fields = json!({
            "comment": shapes::review_comment(self.db, repository, issue, comment),
            "pull_request": shapes::pull_simple(self.db, repository, issue, pull),
        });
        self.emit("pull_request_review_comment", Some("created"), fields);
    }
}
