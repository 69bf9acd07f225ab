//! The hidden first line of everything we publish, by which a restarted worker recognizes its own texts.
//!
//! Only the very first line counts, and only in texts by the App itself: later lines may say anything.

use std::fmt;

use crate::domain::{Job, JobId};

/// What was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkerKind {
    /// A pull request, or the evidence for one whose body a person rewrote.
    PullRequest,
    /// A comment of an escalation.
    Escalation,
    /// The progress comment.
    Progress,
    /// A comment with a change that waits for approval.
    Held,
    /// A comment on a pull request about a round of changes.
    Round,
}

impl MarkerKind {
    const ALL: [Self; 5] = [Self::PullRequest, Self::Escalation, Self::Progress, Self::Held, Self::Round];

    fn name(self) -> &'static str {
        match self {
            Self::PullRequest => "pr",
            Self::Escalation => "escalation",
            Self::Progress => "progress",
            Self::Held => "held",
            Self::Round => "round",
        }
    }
}

/// What a text is, and which job it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// What it is.
    pub kind: MarkerKind,
    /// The job.
    pub job: JobId,
    /// The attempt on the issue.
    pub generation: u32,
    /// The round of the job, if each round has a text of its own; else the first.
    pub round: u32,
    /// Which part of how many.
    pub part: (usize, usize),
}

impl Marker {
    /// The marker of a text in one part.
    pub fn new(kind: MarkerKind, job: &Job) -> Self {
        Self { kind, job: job.id, generation: job.generation, round: 1, part: (1, 1) }
    }

    /// The marker that `body` begins with.
    pub fn read(body: &str) -> Option<Self> {
        let line = body.lines().next()?.trim_end();
        let fields = line.strip_prefix("<!-- mendwright:")?.strip_suffix(" -->")?;
        let mut fields = fields.split(':');
        let (kind, job, generation, part) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (number, of) = part.split_once('/')?;
        let (generation, round) = generation.split_once('.').unwrap_or((generation, "1"));
        Some(Self {
            kind: MarkerKind::ALL.into_iter().find(|known| known.name() == kind)?,
            job: job.parse().ok()?,
            generation: generation.parse().ok()?,
            round: round.parse().ok()?,
            part: (number.parse().ok()?, of.parse().ok()?),
        })
    }

    /// Whether `self` and `other` are the same place, of however many parts.
    pub fn is_same_place(&self, other: &Self) -> bool {
        (self.kind, self.job, self.generation, self.round, self.part.0)
            == (other.kind, other.job, other.generation, other.round, other.part.0)
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, job, generation, round, part: (number, of) } = self;
        let round = if *round == 1 { String::new() } else { format!(".{round}") };
        write!(f, "<!-- mendwright:{}:{job}:{generation}{round}:{number}/{of} -->", kind.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marker_is_read_from_the_first_line_only() {
        for kind in MarkerKind::ALL {
            let marker = Marker { kind, job: JobId::new(), generation: 2, round: 3, part: (1, 3) };
            assert_eq!(Marker::read(&format!("{marker}\r\ntext")), Some(marker));
            assert_eq!(Marker::read(&format!("text\n{marker}")), None);
            assert_eq!(Marker::read(&format!(" {marker}")), None);
        }
        for other in ["", "<!-- mendwright:pr -->", "<!-- mendwright:pr:x:1:1/1 -->", "<!-- else -->"] {
            assert_eq!(Marker::read(other), None, "{other}");
        }
    }
}
