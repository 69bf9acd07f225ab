//! A transcript as a file: JSON Lines, the first line a header, each further line one event. Reads, writes,
//! digests and describes that format. Knows no store, and starts nothing.
//!
//! # The format, version 1
//! - The first line is the header ([`Header`]): `format` is `mendwright-transcript`.
//! - Each further line is `{"sequence": N, "at": "…", "event": {"event": "…", …}}`, numbered from 1
//!   without gaps. The text of an event is the store's own, byte for byte.
//! - The schema is `fixtures/schemas/transcript.schema.json` (`mendwright transcript --schema`).
//! - A reader accepts what it does not know: new fields and new kinds of events come without a new version. A
//!   new version is one that old readers would misread, so they refuse it.
//! - The digest of a transcript through event N is the SHA-256 of lines 1 to N without the header,
//!   each with its line end.

use std::path::Path;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::{Job, JobId, JobState, RecordedEvent, StoredEvent, TranscriptEvent, Trigger};

/// The header's `format`.
pub const FORMAT: &str = "mendwright-transcript";
/// The version that is written, and the newest one that is read.
pub const VERSION: u32 = 1;
/// Larger files are refused: the longest transcript of a job has a few megabytes.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The first line of a transcript file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Always `mendwright-transcript`.
    pub format: String,
    /// The format's version: 1.
    pub version: u32,
    /// The job.
    pub job: JobId,
    /// Which attempt on the issue.
    pub generation: u32,
    /// When the job was recorded.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// Who asked for what and where, with the issue as it was then.
    pub trigger: Trigger,
}

/// A transcript, as it is in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The first line.
    pub header: Header,
    /// The events, in order.
    pub events: Vec<StoredEvent>,
}

/// A file that is not a readable transcript.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRecording {
    /// It cannot be opened, or is too large.
    #[error("the transcript {path} cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// A line does not have the format.
    #[error("line {line} of the transcript: {why}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

impl Recording {
    /// The transcript of a job.
    pub fn of(job: &Job, events: Vec<StoredEvent>) -> Self {
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            job: job.id,
            generation: job.generation,
            created_at: job.created_at,
            trigger: job.trigger.clone(),
        };
        Self { header, events }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or a line does not have the format. An event that this version does not know is not
    /// an error.
    pub fn load(path: &Path) -> Result<Self, InvalidRecording> {
        let unreadable = |why: String| InvalidRecording::Unreadable { path: path.display().to_string(), why };
        let bytes = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(unreadable(format!("it has {bytes} bytes; at most {FILE_BYTES_MAX} are read")));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// As [`Recording::load`].
    pub fn parse(text: &str) -> Result<Self, InvalidRecording> {
        let mut lines = text.lines().enumerate();
        let invalid = |index: usize, why: String| InvalidRecording::Line { line: index + 1, why };
        let (_, first) = lines.next().ok_or_else(|| invalid(0, "the file is empty".to_owned()))?;
        let header = read_header(first).map_err(|why| invalid(0, why))?;
        let mut events: Vec<StoredEvent> = Vec::new();
        for (index, line) in lines {
            let event = read_event(line).map_err(|why| invalid(index, why))?;
            let expected = events.len() as u64 + 1;
            if event.sequence != expected {
                let why = format!("it has event {}, but event {expected} comes next", event.sequence);
                return Err(invalid(index, why));
            }
            events.push(event);
        }
        Ok(Self { header, events })
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string(&self.header).expect("a header has only string keys");
        text.push('\n');
        for event in &self.events {
            text.push_str(&event.line());
            text.push('\n');
        }
        text
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let named = |error: std::io::Error| {
            std::io::Error::new(error.kind(), format!("{} cannot be written: {error}", path.display()))
        };
        std::fs::write(path, self.to_text()).map_err(named)
    }

    /// The events that this version knows.
    pub fn known_events(&self) -> Vec<RecordedEvent> {
        self.events.iter().filter_map(StoredEvent::parsed).collect()
    }

    /// The events that this version does not know.
    pub fn unknown_events(&self) -> Vec<&StoredEvent> {
        self.events.iter().filter(|event| event.parsed().is_none()).collect()
    }

    /// The SHA-256 of the events up to and including number `through`, in hexadecimal; `None`: there are fewer
    /// events.
    pub fn digest(&self, through: u64) -> Option<String> {
        digest(&self.events, through)
    }

    /// The job, as far as its transcript describes it.
    pub fn job(&self) -> Job {
        let mut job = Job {
            id: self.header.job,
            trigger: self.header.trigger.clone(),
            generation: self.header.generation,
            state: JobState::Queued,
            outcome: None,
            created_at: self.header.created_at,
            updated_at: self.header.created_at,
        };
        for recorded in self.known_events() {
            match recorded.event {
                TranscriptEvent::StateChanged { state } => (job.state, job.updated_at) = (state, recorded.at),
                TranscriptEvent::Ended { outcome } => {
                    (job.state, job.updated_at) = (outcome.state(), recorded.at);
                    job.outcome = Some(outcome);
                }
                _ => {}
            }
        }
        job
    }
}

/// The SHA-256 of the first `through` of `events`, in hexadecimal; `None`: there are fewer events.
pub fn digest(events: &[StoredEvent], through: u64) -> Option<String> {
    let counted = events.get(..usize::try_from(through).ok()?)?;
    let mut hash = Sha256::new();
    for event in counted {
        hash.update(event.line());
        hash.update("\n");
    }
    Some(hex::encode(hash.finalize()))
}

/// The JSON Schema of each line of a file.
pub fn schema() -> Value {
    /// A line of a Mendwright transcript, version 1.
    #[derive(JsonSchema)]
    #[schemars(untagged)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum TranscriptLine {
        /// The first line.
        Header(Box<Header>),
        /// Each further line.
        Event {
            /// Its place, from 1, without gaps.
            sequence: u64,
            /// When it was recorded: RFC 3339, UTC.
            at: String,
            /// What happened.
            event: Event,
        },
    }
    #[derive(JsonSchema)]
    #[schemars(untagged)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Event {
        Known(Box<TranscriptEvent>),
        /// An event of a later version. To be shown, not refused.
        Later {
            /// Its kind.
            event: String,
        },
    }
    schemars::schema_for!(TranscriptLine).to_value()
}

fn read_header(line: &str) -> Result<Header, String> {
    #[derive(Deserialize)]
    struct Kind {
        format: String,
        version: u32,
    }
    let kind: Kind = serde_json::from_str(line)
        .map_err(|error| format!("it must be the header of a transcript ({error})"))?;
    if kind.format != FORMAT {
        return Err(format!("its format is {:?}, not {FORMAT}", kind.format));
    }
    if kind.version > VERSION {
        return Err(format!(
            "the format has version {}, and this mendwright reads up to {VERSION}; use a newer one",
            kind.version
        ));
    }
    serde_json::from_str(line).map_err(|error| format!("the header cannot be read: {error}"))
}

fn read_event(line: &str) -> Result<StoredEvent, String> {
    #[derive(Deserialize)]
    struct Line {
        sequence: u64,
        at: Timestamp,
        event: Value,
    }
    let read: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if !read.event["event"].is_string() {
        return Err("its event has no kind".to_owned());
    }
    // The text as it was written, so that the digest is the same. Other spellings are normalised.
    let prefix = StoredEvent::prefix(read.sequence, read.at);
    let verbatim = line.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_suffix('}'));
    let event = verbatim.map_or_else(|| read.event.to_string(), str::to_owned);
    Ok(StoredEvent { sequence: read.sequence, at: read.at, event })
}

#[cfg(test)]
mod tests;
