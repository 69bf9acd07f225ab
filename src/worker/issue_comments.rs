//! What of an issue's comments the model is given to read: those that people with write access wrote
//! before the work was asked for, and nobody has changed since. Decided once for a job, and recorded.

use std::collections::{BTreeMap, HashMap};

use crate::agent::sanitise;
use crate::domain::{Login, QuotedComment, Transcript, TranscriptEvent, authorize};
use crate::github::IssueComment;
use crate::store::Journal;

use super::admission::github_error;
use super::{JobError, WorkerContext};

/// Comments that are given; the newest are kept.
const COMMENTS_MAX: usize = 20;
/// Of one comment, in characters.
const COMMENT_CHARS_MAX: usize = 6_000;
/// Of all together.
const ALL_CHARS_MAX: usize = 20_000;
/// People of whom GitHub is asked what they may do.
const AUTHORS_MAX: usize = 40;

/// The comments: as recorded, or found now and recorded.
pub(super) async fn comments(
    parts: &WorkerContext,
    journal: &Journal,
    transcript: Transcript<'_>,
) -> Result<Vec<QuotedComment>, JobError> {
    if let Some(comments) = transcript.issue_comments() {
        return Ok(comments.to_vec());
    }
    let Reading { comments, left_out } = read(parts, journal).await?;
    if !comments.is_empty() || !left_out.is_empty() {
        let event = TranscriptEvent::CommentsRead { comments: comments.clone(), left_out };
        journal.append(&[event]).await?;
    }
    Ok(comments)
}

#[derive(Default)]
struct Reading {
    comments: Vec<QuotedComment>,
    left_out: Vec<String>,
}

async fn read(parts: &WorkerContext, journal: &Journal) -> Result<Reading, JobError> {
    let trigger = &journal.job().trigger;
    let (at, number) = (&trigger.repository, trigger.issue.number);
    let found = parts.github.comments(at, number).await.map_err(github_error)?;
    let ours = parts.github.our_comments(at, number).await.map_err(github_error)?;
    let mut reading = Reading::default();
    let mut refused = Refused::default();
    let mut writers: HashMap<Login, bool> = HashMap::new();
    let mut chars = 0;
    for comment in found.into_iter().rev().filter(|comment| ours.iter().all(|own| own.id != comment.id)) {
        // Times are whole seconds: of one second nobody knows which came first.
        let Some(asked_at) = trigger.labelled_at.filter(|at| comment.created_at < *at) else {
            refused.add("written since the work was asked for");
            continue;
        };
        if comment.updated_at >= asked_at {
            refused.add("changed since the work was asked for");
            continue;
        }
        let may = match writers.get(&comment.author) {
            Some(may) => *may,
            None if writers.len() == AUTHORS_MAX => {
                refused.add("by more people than are looked at");
                continue;
            }
            None => {
                let may = is_writer(parts, journal, &comment).await?;
                writers.insert(comment.author.clone(), may);
                may
            }
        };
        if !may {
            refused.add("by somebody without write access");
            continue;
        }
        let quoted = quote(comment, &mut reading.left_out);
        chars += quoted.text.chars().count();
        if reading.comments.len() == COMMENTS_MAX || chars > ALL_CHARS_MAX {
            // Older ones make no sense without it.
            chars = ALL_CHARS_MAX + 1;
            refused.add("too old: newer ones fill the room that there is");
            continue;
        }
        reading.comments.push(quoted);
    }
    reading.comments.reverse();
    reading.left_out.extend(refused.describe());
    Ok(reading)
}

/// Whether the author has write access now, or is a bot that the operator lists.
async fn is_writer(
    parts: &WorkerContext,
    journal: &Journal,
    comment: &IssueComment,
) -> Result<bool, JobError> {
    let at = &journal.job().trigger.repository;
    let permission = parts.github.permission(at, &comment.author).await.map_err(github_error)?;
    let bots = &parts.policy.bots_allowed;
    Ok(authorize(permission, &comment.author, comment.author_is_bot, bots).is_ok())
}

/// The comment as the model is given it.
fn quote(comment: IssueComment, left_out: &mut Vec<String>) -> QuotedComment {
    let mut clean = sanitise(&comment.body);
    if let Some((cut, _)) = clean.text.char_indices().nth(COMMENT_CHARS_MAX) {
        clean.text.truncate(cut);
        clean.removed.push(format!("everything after {COMMENT_CHARS_MAX} characters"));
    }
    if !clean.removed.is_empty() {
        left_out.push(format!(
            "of the comment {} by {}: {}",
            comment.id,
            comment.author,
            clean.removed.join(", ")
        ));
    }
    QuotedComment { comment: comment.id, by: comment.author, at: comment.created_at, text: clean.text }
}

/// Comments that are not given, counted by why.
#[derive(Default)]
struct Refused(BTreeMap<&'static str, usize>);

impl Refused {
    fn add(&mut self, why: &'static str) {
        *self.0.entry(why).or_default() += 1;
    }

    fn describe(self) -> impl Iterator<Item = String> {
        let noun = |count| if count == 1 { "comment" } else { "comments" };
        self.0.into_iter().map(move |(why, count)| format!("{count} {} {why}", noun(count)))
    }
}
