//! What holds at the end of every story.

use std::io::Write;
use std::path::Path;

use super::World;

impl World {
    /// Ends the story. The service stops well, the model got valid requests only, GitHub was asked for
    /// nothing that the service must never do, all exchanges fit GitHub's description of its API, and no
    /// process is left.
    pub async fn end(mut self) {
        if self.is_serving() {
            assert_eq!(self.stop_service().await, Some(0), "{}", self.log());
        }
        assert_eq!(self.provider.violations(), [""; 0]);
        self.assert_known_operations();
        let record = self.exchange_record();
        let mistakes = crate::emulator::schemas::judge(&record, &self.github.webhooks_sent());
        assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
        if let Some(file) = std::env::var_os("MENDWRIGHT_TEST_EXCHANGES") {
            append(Path::new(&file), &record);
        }
        assert_no_sandbox_left(self.directory.path());
        self.provider.shut_down().await;
        self.github.shut_down().await;
    }

    /// The service knows each operation that it called, and none merges, approves or marks as ready.
    fn assert_known_operations(&self) {
        let calls = self.github.state()["calls"].clone();
        let is_git = |call: &str| call.starts_with("git/upload") || call.starts_with("git/receive");
        for call in calls.as_object().unwrap().keys().filter(|call| !is_git(call)) {
            assert!(mendwright::github::OPERATIONS.contains(&call.as_str()), "{call} is not in OPERATIONS");
        }
        for never in ["pulls/merge", "ready", "approve"] {
            assert!(!calls.to_string().contains(never), "{calls}");
        }
    }

    /// There is one draft pull request, one progress comment and one reaction.
    pub fn assert_published_once(&self) {
        let pulls = self.pulls();
        assert_eq!(pulls.len(), 1, "{pulls:#?}");
        assert_eq!(pulls[0]["draft"], true);
        assert_eq!(self.comments().len(), 1, "{:#?}", self.comments());
        let reactions = self.repository()["issues"][0]["reactions"].clone();
        assert_eq!(reactions.as_array().unwrap().len(), 1, "{reactions:#}");
    }
}

/// Adds a record to a file that other programs check: one write, since tests run in parallel.
fn append(file: &Path, record: &str) {
    let mut file = std::fs::File::options().create(true).append(true).open(file).unwrap();
    file.write_all(record.as_bytes()).unwrap();
}

/// No process that knows this directory is left.
pub fn assert_no_sandbox_left(directory: &Path) {
    let needle = directory.to_string_lossy().into_owned();
    let own = std::process::id().to_string();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == own || !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        assert!(!command.contains(&needle), "process {name} is left: {command}");
    }
}
