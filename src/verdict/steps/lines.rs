//! What else a proposal contains that a reviewer must see: suspicious lines, and files with power.

use crate::domain::flag::FLAG_NAMES_MAX;
use crate::domain::{ChangedContent, FileMode, Flag, TestRun, TouchedFile, TouchedKind};

use super::super::path_kinds::{kind_by_content, kind_by_path};
use super::super::suspicion::suspicious_lines;
use super::super::test_files::TestFiles;
use super::super::verifier::Verifier;
use super::candidate::{ChangedFile, JudgedProposal};

impl Verifier<'_> {
    /// Added lines that can make tests seem to pass.
    pub(in super::super) fn suspicious_changes(
        &self,
        candidate: &JudgedProposal<'_>,
        run: &TestRun,
    ) -> Vec<Flag> {
        let tests = TestFiles::of(&candidate.places, &[&self.baseline.report, &run.report]);
        let mut flags = Vec::new();
        if !self.defences.suspicious_lines {
            return flags;
        }
        for file in candidate.files.iter().filter(|file| !file.is_deleted()) {
            let (before, after) =
                (String::from_utf8_lossy(&file.before), String::from_utf8_lossy(file.after()));
            // What a new file declares, the proposal itself says.
            let is_test = match file.exists {
                true => tests.contains(file.path(), &file.before),
                false => candidate.places.contains(file.path()),
            };
            flags.extend(suspicious_lines(file.path().as_str(), is_test, &before, &after));
            if flags.len() >= FLAG_NAMES_MAX {
                break;
            }
        }
        flags
    }

    /// Every other file that the proposal touches and that does something beside the source.
    pub(in super::super) fn touched(&self, candidate: &JudgedProposal<'_>) -> Option<Flag> {
        if !self.defences.touched_files {
            return None;
        }
        let mut files: Vec<TouchedFile> = candidate
            .files
            .iter()
            .filter_map(|file| Some(TouchedFile { path: file.path().to_string(), kind: kind(file)? }))
            .collect();
        let count = files.len() as u64;
        files.truncate(TOUCHED_MAX);
        (count > 0).then_some(Flag::AlsoTouches { files, count })
    }
}

/// Files that the flag lists: all of an ordinary proposal.
const TOUCHED_MAX: usize = 100;

fn kind(file: &ChangedFile<'_>) -> Option<TouchedKind> {
    let by_path = kind_by_path(file.path().as_str());
    let by_content = || kind_by_content(file.after());
    let is_executable = match &file.change.content {
        ChangedContent::File { mode, .. } => !file.exists && *mode == FileMode::Executable,
        ChangedContent::Absent => false,
    };
    by_path.or_else(by_content).or(is_executable.then_some(TouchedKind::Executable))
}
