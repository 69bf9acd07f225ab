//! Runs the suite, or a part of it, in a sandbox: the repository's command, with a report requested if its
//! runner can write one.

use std::time::SystemTime;

use uuid::Uuid;

use crate::domain::{
    BoundedOutput, Change, ChangedContent, ExitStatus, JobSettings, ProcessOutput, ReportFormat, TestCase,
    TestReport, TestRun,
};
use crate::sandbox::protocol::ReportLocation;
use crate::sandbox::{CallError, CommandSpec, SandboxError, Toolbox};

use super::fail_fast::{KeepGoing, keep_going_behind_wrapper};
use super::recognition::{Recognised, needs_package_json, recognise};
use super::report_request::{ReportRequest, ReportTarget, request_behind_wrapper};
use super::reports::{ReportFileFormat, read_files, read_output};
use super::runner_call::{SelectedCommand, TestCommand};
use super::selection::Selection;
use super::wrapper::wrapper;

/// Why there is no run.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The sandbox could not be started, or was lost.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The tree, or the change, could not be handled by git.
    #[error(transparent)]
    Workspace(#[from] crate::workspace::WorkspaceError),
}

impl From<CallError> for SuiteError {
    fn from(error: CallError) -> Self {
        match error {
            // `/bin/sh` not starting is a fault of the sandbox, not of the suite.
            CallError::RespondToModel(words) => Self::Sandbox(SandboxError::Gone(words)),
            CallError::Fatal(error) => Self::Sandbox(error),
        }
    }
}

/// Runs the suite once.
pub async fn run_suite(toolbox: &Toolbox, settings: &JobSettings) -> Result<TestRun, CallError> {
    let recognised = recognised(toolbox, settings).await?;
    run(toolbox, settings, recognised.as_ref(), &Extra::default()).await
}

/// Runs the suite once, in a sandbox whose tree nobody but the suite has changed. The report names the tracked
/// files that are not as they were.
pub async fn run_suite_of_tree(toolbox: &Toolbox, settings: &JobSettings) -> Result<TestRun, CallError> {
    let since = SystemTime::now();
    let mut run = run_suite(toolbox, settings).await?;
    changed_files_of(toolbox, since, &mut run).await?;
    Ok(run)
}

/// As [`run_suite_of_tree`], but so that the runner goes on after its first failure. `None`: it cannot be told to, and
/// nothing was run.
pub async fn run_suite_to_the_end(
    toolbox: &Toolbox,
    settings: &JobSettings,
) -> Result<Option<TestRun>, CallError> {
    let recognised = recognised(toolbox, settings).await?;
    let going_on = match &recognised {
        Some(found) => KeepGoing::of(found, &settings.test_command),
        None => wrapper(&settings.test_command).map(|_| keep_going_behind_wrapper()),
    };
    let Some(KeepGoing { env, arguments, command }) = going_on else { return Ok(None) };
    let extra = Extra { selection: None, arguments, env, command: command.map(CommandText::Whole) };
    let since = SystemTime::now();
    let mut run = run(toolbox, settings, recognised.as_ref(), &extra).await?;
    changed_files_of(toolbox, since, &mut run).await?;
    Ok(Some(run))
}

/// As [`run_suite_of_tree`], but so that the runner goes on after its first failure, if it can be told to.
pub async fn run_suite_as_far_as_possible(
    toolbox: &Toolbox,
    settings: &JobSettings,
) -> Result<TestRun, CallError> {
    match run_suite_to_the_end(toolbox, settings).await? {
        // A runner of another version may not know the option.
        Some(run) if run.report.is_known() || run.exited_successfully() => Ok(run),
        Some(_) | None => run_suite_of_tree(toolbox, settings).await,
    }
}

/// Adds to the report of a run which tracked files are not as they were before it, which was at `since`.
async fn changed_files_of(toolbox: &Toolbox, since: SystemTime, run: &mut TestRun) -> Result<(), CallError> {
    let more = match toolbox.changed_files(since).await {
        Ok((files, more)) => {
            run.report.changed_files = files;
            more
        }
        Err(CallError::RespondToModel(why)) => {
            run.report.add_remark(format!("the tracked files could not be compared after the run: {why}"));
            0
        }
        Err(lost @ CallError::Fatal(_)) => return Err(lost),
    };
    if more > 0 {
        run.report.add_remark(format!("{more} tracked files could not be compared after the run"));
    }
    Ok(())
}

/// Runs a part of the suite. If that is not possible, [`CallError::RespondToModel`] says why.
pub async fn run_selected(
    toolbox: &Toolbox,
    settings: &JobSettings,
    selection: &Selection,
) -> Result<TestRun, CallError> {
    let command = &settings.test_command;
    let package_json = package_json(toolbox, command).await?;
    let test = TestCommand { command, package_json: package_json.as_deref() };
    let SelectedCommand { command, arguments } =
        selection.command(&test).map_err(CallError::RespondToModel)?;
    let extra = Extra {
        selection: Some(selection.describe()),
        arguments,
        command: Some(CommandText::WithPlace(command)),
        ..Extra::default()
    };
    let mut recognised = recognise(test.command, test.package_json);
    if let Some(found) = &mut recognised {
        // Wherever the runner is called in the command, they are put there.
        found.invocation.takes_arguments = true;
    }
    run(toolbox, settings, recognised.as_ref(), &extra).await
}

/// What is added to the repository's command.
#[derive(Default)]
struct Extra {
    /// The part of the suite that is run, in words.
    selection: Option<String>,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    /// What is run in place of the repository's command.
    command: Option<CommandText>,
}

/// A command that takes the place of the repository's.
enum CommandText {
    /// Arguments are put at its end.
    Whole(String),
    /// It has `"$@"` where arguments belong.
    WithPlace(String),
}

async fn recognised(toolbox: &Toolbox, settings: &JobSettings) -> Result<Option<Recognised>, CallError> {
    let command = &settings.test_command;
    Ok(recognise(command, package_json(toolbox, command).await?.as_deref()))
}

/// The repository's `package.json`, if it defines what the command runs.
pub(super) async fn package_json(toolbox: &Toolbox, command: &str) -> Result<Option<Vec<u8>>, CallError> {
    match needs_package_json(command) {
        true => file_content(toolbox, "package.json").await,
        false => Ok(None),
    }
}

/// The content of a path in the sandbox; a path that cannot be read counts as absent.
async fn file_content(toolbox: &Toolbox, path: &str) -> Result<Option<Vec<u8>>, CallError> {
    let Ok(path) = path.parse() else { return Ok(None) };
    match toolbox.collect(&[path]).await {
        Ok(changes) => Ok(changes.into_iter().find_map(|Change { content, .. }| match content {
            ChangedContent::File { bytes, .. } => Some(bytes),
            ChangedContent::Absent => None,
        })),
        Err(CallError::RespondToModel(_)) => Ok(None),
        Err(lost @ CallError::Fatal(_)) => Err(lost),
    }
}

async fn run(
    toolbox: &Toolbox,
    settings: &JobSettings,
    recognised: Option<&Recognised>,
    extra: &Extra,
) -> Result<TestRun, CallError> {
    let token = Uuid::new_v4().simple().to_string();
    let request = match recognised {
        Some(found) => (found.runner.row().report)(&found.invocation, &token),
        None => wrapper(&settings.test_command).map(|wrapper| request_behind_wrapper(wrapper, &token)),
    };
    let (mut result, mut report) = run_once(toolbox, settings, recognised, extra, request.as_ref()).await?;
    let refused = match (&request, result.ending) {
        (Some(request), ExitStatus::Exited { code }) if code != 0 && !report.is_known() => {
            request.is_refused(code, &result.output.to_text())
        }
        _ => false,
    };
    if refused {
        (result, report) = run_once(toolbox, settings, recognised, extra, None).await?;
        report.add_remark(
            "the runner did not know how to write a report, and was run again without being asked",
        );
    }
    let output = match recognised {
        Some(found) => (found.runner.row().for_people)(result.output),
        None => result.output,
    };
    let result = ProcessOutput { output, ..result };
    let selection = extra.selection.clone();
    Ok(TestRun { command: settings.test_command.clone(), selection, result, report })
}

async fn run_once(
    toolbox: &Toolbox,
    settings: &JobSettings,
    recognised: Option<&Recognised>,
    extra: &Extra,
    request: Option<&ReportRequest>,
) -> Result<(ProcessOutput, TestReport), CallError> {
    let mut arguments: Vec<String> = extra.arguments.clone();
    let more = request.map(|request| request.arguments.as_slice()).unwrap_or_default();
    arguments.extend_from_slice(more);
    let separator = recognised.and_then(|found| found.invocation.separator).filter(|_| !arguments.is_empty());
    let text = match &extra.command {
        Some(CommandText::WithPlace(command)) => command.clone(),
        other => {
            arguments.splice(0..0, separator.map(str::to_owned));
            let command = match other {
                Some(CommandText::Whole(command) | CommandText::WithPlace(command)) => command,
                None => &settings.test_command,
            };
            // The command's text is not changed; the arguments are passed separately and never quoted here.
            if arguments.is_empty() { command.clone() } else { format!("{command} \"$@\"") }
        }
    };
    let mut spec = CommandSpec::shell(&text, settings.test_timeout);
    if !arguments.is_empty() {
        spec.argv = ["/bin/sh", "-c", &text, "sh"].map(str::to_owned).to_vec();
        spec.argv.extend(arguments);
    }
    spec.env.extend(request.map(|request| request.env.clone()).unwrap_or_default());
    for (name, value) in &extra.env {
        match spec.env.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.push_str(&format!(" {value}")),
            None => spec.env.push((name.clone(), value.clone())),
        }
    }
    let since = SystemTime::now();
    let result = toolbox.run(&spec).await?;
    let written = match request.map(|request| &request.place) {
        None | Some(ReportTarget::Output) => None,
        Some(ReportTarget::File(name, format)) => {
            let place = ReportLocation::Tmp { name: name.clone() };
            Some(written(toolbox, place, since, *format).await?)
        }
        Some(ReportTarget::Workspace(globs)) => {
            let globs = globs.iter().map(|glob| (*glob).to_owned()).collect();
            Some(
                written(toolbox, ReportLocation::Workspace { globs }, since, ReportFileFormat::JunitXml)
                    .await?,
            )
        }
    };
    let printed = read_output(&result.output, recognised.map(|found| found.runner.row().readers));
    let written = match request {
        Some(request) if !request.is_certain => {
            written.filter(|written| matches_output(written, printed.as_ref()))
        }
        Some(_) | None => written,
    };
    let report = merge_reports(written, printed, &result.output);
    Ok((result, report))
}

/// Reads the report files: `Ok(None)` if there is none, `Err` with the reason if they cannot be read.
async fn written(
    toolbox: &Toolbox,
    place: ReportLocation,
    since: SystemTime,
    format: ReportFileFormat,
) -> Result<Result<Option<TestReport>, String>, CallError> {
    let (files, left_out) = match toolbox.reports(place, since).await {
        Ok(found) => found,
        Err(CallError::RespondToModel(why)) => return Ok(Err(why)),
        Err(lost @ CallError::Fatal(_)) => return Err(lost),
    };
    if files.is_empty() && left_out == 0 {
        return Ok(Ok(None));
    }
    match read_files(&files, format) {
        Some(mut report) if left_out > 0 => {
            report.finished = false;
            report.add_remark(format!("{left_out} report files were too large to be read"));
            Ok(Ok(Some(report)))
        }
        Some(report) => Ok(Ok(Some(report))),
        None => Ok(Err("what is in the report file is not a report, or is too large".to_owned())),
    }
}

/// Whether the file of a runner that only may have run agrees with the output: there may be another runner,
/// or a second run that overwrote the file.
fn matches_output(written: &Result<Option<TestReport>, String>, printed: Option<&TestReport>) -> bool {
    let (Ok(Some(file)), Some(printed)) = (written, printed) else { return false };
    let (Some(counted), Some(printed_counts)) = (file.counts, printed.counts) else { return false };
    printed.formats == [ReportFormat::Pytest]
        && (counted.ran(), counted.red()) == (printed_counts.ran(), printed_counts.red())
        && printed.red().all(|case| file.case(&case.name).is_some_and(TestCase::is_red))
}

/// Merges the two reports. The file's is preferred, since every test can print. A contradiction is remarked;
/// a failure in either counts. `written`: `None` if no file was requested.
fn merge_reports(
    written: Option<Result<Option<TestReport>, String>>,
    printed: Option<TestReport>,
    output: &BoundedOutput,
) -> TestReport {
    let (mut report, missing) = match (written, printed) {
        (Some(Ok(Some(mut written))), printed) => {
            if let Some(printed) = printed {
                compare_with_output(&mut written, &printed, output);
            }
            return written;
        }
        (Some(Err(why)), Some(printed)) => (printed, Some(format!("the report file cannot be read: {why}"))),
        (Some(Ok(None)), Some(printed)) => {
            (printed, Some("the runner was asked for a report file and wrote none".to_owned()))
        }
        (Some(Err(why)), None) => {
            (TestReport::default(), Some(format!("the report file cannot be read: {why}")))
        }
        (Some(Ok(None)), None) => (
            TestReport::default(),
            Some("the runner wrote no report file, and nothing that it printed is one".to_owned()),
        ),
        (None, Some(printed)) => (printed, None),
        (None, None) => (
            TestReport::default(),
            Some(
                "nothing that was printed is a report that is known here; the exit code is all there is"
                    .to_owned(),
            ),
        ),
    };
    if let Some(missing) = missing {
        report.add_remark(missing);
    }
    report
}

fn compare_with_output(written: &mut TestReport, printed: &TestReport, output: &BoundedOutput) {
    let (Some(file), Some(out)) = (written.counts, printed.counts) else { return };
    if (file.red() == 0) != (out.red() == 0) || file.ran().abs_diff(out.ran()) > file.errored.max(out.errored)
    {
        written.add_remark(format!(
            "the report file and the output contradict each other: {} against {}",
            file.describe(),
            out.describe()
        ));
    }
    if !printed.finished && !output.is_truncated() {
        written.finished = false;
        written.add_remark("the report file is whole, and the output breaks off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ReportBuilder, ReportSource, TestOutcome};

    fn report(source: ReportSource, passed: u64, failed: u64, finished: bool) -> TestReport {
        let mut builder = ReportBuilder::default();
        for n in 0..passed + failed {
            let outcome = if n < passed { TestOutcome::Passed } else { TestOutcome::Failed };
            builder.push(TestCase::new(n.to_string(), outcome));
        }
        let counts = builder.counted();
        builder.finish(source, ReportFormat::Junit, Some(counts), finished)
    }

    fn weighed(
        written: Option<Result<Option<TestReport>, String>>,
        printed: Option<TestReport>,
    ) -> TestReport {
        merge_reports(written, printed, &BoundedOutput::default())
    }

    #[test]
    fn report_file_is_preferred_and_contradictions_are_remarked() {
        let file = |passed, failed| Some(Ok(Some(report(ReportSource::File, passed, failed, true))));
        let output = |passed, failed, finished| Some(report(ReportSource::Output, passed, failed, finished));
        let agreed = weighed(file(2, 1), output(2, 1, true));
        assert_eq!((agreed.source, agreed.remarks.len()), (ReportSource::File, 0));
        let forged = weighed(file(2, 1), output(3, 0, true));
        assert_eq!(forged.counts.unwrap().failed, 1);
        assert!(forged.remarks[0].contains("contradict each other: 2 passed, 1 failed against 3 passed"));
        let cut_off = weighed(file(3, 0), output(1, 0, false));
        assert!(!cut_off.finished);
    }

    #[test]
    fn missing_report_is_remarked() {
        let printed = || Some(report(ReportSource::Output, 1, 0, true));
        let none = weighed(Some(Ok(None)), printed());
        assert_eq!(none.source, ReportSource::Output);
        assert!(none.remarks[0].contains("asked for a report file and wrote none"));
        let broken = weighed(Some(Err("it is too large".into())), printed());
        assert!(broken.remarks[0].contains("cannot be read: it is too large"));
        let nothing = weighed(None, None);
        assert!(!nothing.is_known() && nothing.remarks[0].contains("the exit code is all there is"));
        assert_eq!(weighed(None, printed()).remarks, [""; 0]);
    }
}
