//! Which comments of an issue the model reads: those that people with write access wrote before the work
//! was requested, and that nobody changed since. Decided once for a job, and recorded.

use std::collections::{BTreeMap, HashMap};

use super::context::WorkerContext;
use super::stop::Stop;
use crate::agent::sanitise_in_background;
use crate::domain::{Login, QuotedComment, RecordedEvent, Transcript, TranscriptEvent, authorize};
use crate::github::IssueComment;
use crate::store::Journal;

/// How many comments are given; the newest are kept.
const COMMENTS_MAX: usize = 20;
/// Longest comment, in characters.
const COMMENT_CHARS_MAX: usize = 6_000;
/// All comments together, in characters.
const ALL_CHARS_MAX: usize = 20_000;
/// How many people's permissions are read from GitHub.
const AUTHORS_MAX: usize = 40;

/// The comments: as recorded, or selected now and recorded.
pub(super) async fn comments(
    context: &WorkerContext,
    journal: &Journal,
    transcript: &[RecordedEvent],
) -> Result<Vec<QuotedComment>, Stop> {
    if let Some(comments) = Transcript::new(transcript).issue_comments() {
        return Ok(comments.to_vec());
    }
    let Selection { comments, left_out } = select(context, journal).await?;
    if !comments.is_empty() || !left_out.is_empty() {
        let event = TranscriptEvent::CommentsRead { comments: comments.clone(), left_out };
        journal.append(&[event]).await?;
    }
    Ok(comments)
}

#[derive(Default)]
struct Selection {
    comments: Vec<QuotedComment>,
    left_out: Vec<String>,
}

async fn select(context: &WorkerContext, journal: &Journal) -> Result<Selection, Stop> {
    let trigger = &journal.job().trigger;
    let (at, number) = (&trigger.repository, trigger.issue.number);
    let found = context.github.comments(at, number).await?;
    let ours = context.github.our_comments(at, number).await?;
    let mut selection = Selection::default();
    let mut refused = RefusalCounts::default();
    let mut may_write: HashMap<Login, bool> = HashMap::new();
    let mut chars = 0;
    for comment in found.into_iter().rev().filter(|comment| ours.iter().all(|own| own.id != comment.id)) {
        // GitHub's times are whole seconds: the order within one second is not known.
        let Some(requested_at) = trigger.labelled_at.filter(|at| comment.created_at < *at) else {
            refused.add("written after the work was requested");
            continue;
        };
        if comment.updated_at >= requested_at {
            refused.add("changed after the work was requested");
            continue;
        }
        let may = match may_write.get(&comment.author) {
            Some(may) => *may,
            None if may_write.len() == AUTHORS_MAX => {
                refused.add("by more people than are checked");
                continue;
            }
            None => {
                let may = is_writer(context, journal, &comment).await?;
                may_write.insert(comment.author.clone(), may);
                may
            }
        };
        if !may {
            refused.add("by people without write access");
            continue;
        }
        let quoted = quote(comment, &mut selection.left_out).await;
        chars += quoted.text.chars().count();
        if selection.comments.len() == COMMENTS_MAX || chars > ALL_CHARS_MAX {
            // Older comments make no sense without this one.
            chars = ALL_CHARS_MAX + 1;
            refused.add("too old: newer ones fill the space");
            continue;
        }
        selection.comments.push(quoted);
    }
    selection.comments.reverse();
    selection.left_out.extend(refused.describe());
    Ok(selection)
}

/// Whether the author has write access now, or is a bot that the operator lists.
async fn is_writer(context: &WorkerContext, journal: &Journal, comment: &IssueComment) -> Result<bool, Stop> {
    let at = &journal.job().trigger.repository;
    let permission = context.github.permission(at, &comment.author).await?;
    let bots = &context.policy.rules.bots_allowed;
    Ok(authorize(permission, &comment.author, comment.author_is_bot, bots).is_ok())
}

/// The comment as the model reads it.
async fn quote(comment: IssueComment, left_out: &mut Vec<String>) -> QuotedComment {
    let mut clean = sanitise_in_background(&comment.body).await;
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

/// How many comments are not given, by the reason.
#[derive(Default)]
struct RefusalCounts(BTreeMap<&'static str, usize>);

impl RefusalCounts {
    fn add(&mut self, why: &'static str) {
        *self.0.entry(why).or_default() += 1;
    }

    fn describe(self) -> impl Iterator<Item = String> {
        let noun = |count| if count == 1 { "comment" } else { "comments" };
        self.0.into_iter().map(move |(why, count)| format!("{count} {} {why}", noun(count)))
    }
}
