//! The state of an evaluation on disk: a line for each finished instance, so that it continues after a
//! crash. One process at a time.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::InstanceVerdict;

/// Larger result files are refused.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The result of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceResult {
    /// The instance.
    pub instance_id: String,
    /// How the job ended: `proposed`, `escalated`, `cancelled`, `failed`.
    pub outcome: String,
    /// The reason, if it is not `proposed`.
    pub reason: Option<String>,
    /// Whether the instance's own tests pass.
    pub resolved: bool,
    /// Their verdict; null if nothing was proposed.
    pub judged: Option<InstanceVerdict>,
    /// Model calls.
    pub turns: u32,
    /// Tool calls.
    pub tool_calls: u32,
    /// All tokens.
    pub tokens: u64,
    /// US dollars; null if the model has no known price.
    pub cost_usd: Option<f64>,
    /// Wall time of the job and of its judging together.
    pub seconds: f64,
    /// The proposal as a unified diff; empty if there is none.
    pub model_patch: String,
}

/// Identifies an evaluation, so that no other one continues its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The model's name.
    pub model: String,
    /// SHA-256 over the instances.
    pub instances: String,
}

/// An evaluation's directory.
pub struct State {
    directory: PathBuf,
    results: Mutex<File>,
    done: HashMap<String, InstanceResult>,
    _lock: File,
}

impl State {
    /// Opens or creates the directory, and reads the results. An incomplete last line is dropped.
    ///
    /// # Errors
    /// It cannot be used, another process uses it, or it belongs to another evaluation.
    pub fn open(directory: &Path, subject: &Subject) -> anyhow::Result<Self> {
        let what = || format!("the state directory {} cannot be used", directory.display());
        std::fs::create_dir_all(directory).with_context(what)?;
        let directory = std::path::absolute(directory)?;
        let lock = File::create(directory.join("lock")).with_context(what)?;
        if lock.try_lock().is_err() {
            bail!("the state directory {} is in use by another mendwright", directory.display());
        }
        check_subject(&directory, subject)?;
        let path = directory.join("results.jsonl");
        let (done, whole_bytes) = read_results(&path)?;
        let results = OpenOptions::new().create(true).append(true).open(&path).with_context(what)?;
        // A new result must not be appended to an incomplete line.
        results.set_len(whole_bytes).with_context(what)?;
        Ok(Self { directory, results: Mutex::new(results), done, _lock: lock })
    }

    /// The recorded result of an instance.
    pub fn done(&self, instance_id: &str) -> Option<&InstanceResult> {
        self.done.get(instance_id)
    }

    /// The directory of an instance's job.
    pub fn job_directory(&self, instance_id: &str) -> anyhow::Result<PathBuf> {
        let directory = self.directory.join("jobs").join(instance_id);
        std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        Ok(directory)
    }

    /// Records a result; it is on disk when this returns.
    pub fn record(&self, result: &InstanceResult) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(result)?;
        line.push('\n');
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.write_all(line.as_bytes()).and_then(|()| results.sync_data()).with_context(|| {
            format!("the result of {} cannot be kept in {}", result.instance_id, self.directory.display())
        })
    }
}

fn check_subject(directory: &Path, subject: &Subject) -> anyhow::Result<()> {
    let path = directory.join("evaluation.json");
    let kept = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str::<Subject>(&text).ok(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    match kept {
        Some(kept) if kept == *subject => Ok(()),
        Some(kept) => bail!(
            "the state directory {} is that of another evaluation ({} of it differ); name another one with --state",
            directory.display(),
            if kept.model == subject.model { "the instances" } else { "the model, or the instances," }
        ),
        None => {
            let temporary = directory.join("evaluation.json.new");
            std::fs::write(&temporary, serde_json::to_string(subject)?)
                .and_then(|()| std::fs::rename(&temporary, &path))
                .with_context(|| path.display().to_string())
        }
    }
}

/// The results, and how many bytes of the file are whole lines.
fn read_results(path: &Path) -> anyhow::Result<(HashMap<String, InstanceResult>, u64)> {
    let text = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((HashMap::new(), 0)),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => bail!("{} is too large", path.display()),
        Ok(_) | Err(_) => std::fs::read(path).with_context(|| path.display().to_string())?,
    };
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut done = HashMap::new();
    for (index, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let result: InstanceResult = serde_json::from_slice(line)
            .with_context(|| format!("line {} of {} is no result", index + 1, path.display()))?;
        done.insert(result.instance_id.clone(), result);
    }
    Ok((done, whole as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(model: &str) -> Subject {
        Subject { model: model.into(), instances: "1".into() }
    }

    fn result(id: &str) -> InstanceResult {
        InstanceResult {
            instance_id: id.into(),
            outcome: "proposed".into(),
            reason: None,
            resolved: true,
            judged: None,
            turns: 1,
            tool_calls: 2,
            tokens: 3,
            cost_usd: Some(0.5),
            seconds: 1.5,
            model_patch: "diff\n".into(),
        }
    }

    #[test]
    fn results_survive_a_restart_and_a_cut_last_line_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results.jsonl");
        let state = State::open(directory.path(), &subject("m")).unwrap();
        state.record(&result("a")).unwrap();
        assert!(State::open(directory.path(), &subject("m")).is_err(), "two processes at one directory");
        drop(state);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"instance_id\":\"b\",\"outc");
        std::fs::write(&path, &text).unwrap();
        let state = State::open(directory.path(), &subject("m")).unwrap();
        assert_eq!((state.done("a"), state.done("b")), (Some(&result("a")), None));
        state.record(&result("b")).unwrap();
        drop(state);
        let state = State::open(directory.path(), &subject("m")).unwrap();
        assert_eq!(state.done("b"), Some(&result("b")));
    }

    #[test]
    fn state_of_another_evaluation_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(State::open(directory.path(), &subject("m")).unwrap());
        let error = State::open(directory.path(), &subject("n")).err().unwrap().to_string();
        assert!(error.contains("another evaluation") && error.contains("--state"), "{error}");
        std::fs::write(directory.path().join("results.jsonl"), "nonsense\n{}\n").unwrap();
        assert!(State::open(directory.path(), &subject("m")).is_err());
    }
}
