//! Reads rows. Every column is checked, and a row that cannot be read is an error.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::domain::{Job, JobState, RecordedEvent, StoredEvent};

/// The columns that [`job`] reads, in any order.
pub(super) const JOB_COLUMNS: &str =
    "id, trigger_json, generation, state, outcome_json, created_at, updated_at";

/// Why a row cannot be read.
pub(super) type Unreadable = String;

pub(super) fn milliseconds(at: Timestamp) -> i64 {
    at.as_millisecond()
}

pub(super) fn timestamp(milliseconds: i64) -> Result<Timestamp, Unreadable> {
    Timestamp::from_millisecond(milliseconds).map_err(|error| error.to_string())
}

fn column<'r, T>(row: &'r SqliteRow, name: &'static str) -> Result<T, Unreadable>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(name).map_err(|error| format!("column {name}: {error}"))
}

fn json<T: serde::de::DeserializeOwned>(name: &'static str, text: &str) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|error| format!("column {name}: {error}"))
}

pub(super) fn job(row: &SqliteRow) -> Result<Job, Unreadable> {
    let state: String = column(row, "state")?;
    let outcome: Option<String> = column(row, "outcome_json")?;
    let id: String = column(row, "id")?;
    Ok(Job {
        id: id.parse().map_err(|error| format!("column id: {error}"))?,
        trigger: json("trigger_json", &column::<String>(row, "trigger_json")?)?,
        generation: u32::try_from(column::<i64>(row, "generation")?).map_err(|e| e.to_string())?,
        state: JobState::from_name(&state).ok_or_else(|| format!("column state: {state:?}"))?,
        outcome: outcome.as_deref().map(|text| json("outcome_json", text)).transpose()?,
        created_at: timestamp(column(row, "created_at")?)?,
        updated_at: timestamp(column(row, "updated_at")?)?,
    })
}

pub(super) fn recorded(row: &SqliteRow) -> Result<RecordedEvent, Unreadable> {
    Ok(RecordedEvent {
        sequence: u64::try_from(column::<i64>(row, "sequence")?).map_err(|e| e.to_string())?,
        at: timestamp(column(row, "at")?)?,
        event: json("event_json", &column::<String>(row, "event_json")?)?,
    })
}

pub(super) fn recorded_text(row: &SqliteRow) -> Result<StoredEvent, Unreadable> {
    Ok(StoredEvent {
        sequence: u64::try_from(column::<i64>(row, "sequence")?).map_err(|e| e.to_string())?,
        at: timestamp(column(row, "at")?)?,
        event: column(row, "event_json")?,
    })
}
