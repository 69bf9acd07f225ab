//! `mendwright evaluate`: several issues in parallel, killed and started again, evaluated with tests that
//! the model never saw.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use mendwright::model::Provider;
use mendwright_emulator::model::{Conversation, EmulatedProvider};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{BINARY, CommandOutput, assert_no_sandbox_left, eventually};

/// Runs each `t/*.t` and reports in TAP.
const RUNNER: &str = "n=0; bad=0\necho \"1..$(ls t/*.t | wc -l)\"\nfor t in t/*.t; do\n  n=$((n+1)); \
    name=$(basename $t .t)\n  if sh $t; then echo \"ok $n - $name\"; else echo \"not ok $n - $name\"; bad=1; fi\n\
    done\nexit $bad\n";
const TEST: &str = "sh t/run.sh";

/// A repository, and a model that fixes it.
pub(super) struct EvaluationBench {
    pub(super) directory: tempfile::TempDir,
    pub(super) repository: git2::Repository,
    pub(super) provider: EmulatedProvider,
}

impl EvaluationBench {
    /// A repository `widgets` with a sum that subtracts, and a model that fixes it and adds a test.
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let repository = git2::Repository::init(directory.path().join("repos/widgets")).unwrap();
        let propose = json!({"tool": "propose_setup", "arguments": {"setup": [], "test": TEST}});
        let turns = json!({"model": "scripted-1", "setup": [{"calls": [propose]}], "turns": [
            {"say": "The sum subtracts.", "calls": [
                {"tool": "edit_file", "arguments": {"path": "sum.sh", "edits": [{"old": "$1 - $2", "new": "$1 + $2"}]}},
                {"tool": "write_file", "arguments": {"path": "t/agent.t", "content": "# agent\n[ $(sh sum.sh 2 3) = 5 ]\n"}}]},
            {"calls": [{"tool": "run_tests", "arguments": {}}]},
            {"calls": [{"tool": "finish", "arguments": {"summary": "The sum adds."}}]}
        ]});
        let conversation = Conversation::from_json(&turns.to_string()).unwrap();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let provider = EmulatedProvider::start(any_port, conversation).await.unwrap();
        let bench = Self { directory, repository, provider };
        bench.commit(
            "Begin",
            &[
                ("t/run.sh", RUNNER),
                ("t/zero.t", "[ $(sh sum.sh 0 0) = 0 ]\n"),
                ("sum.sh", "echo $(( $1 - $2 ))\n"),
            ],
        );
        bench
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn commit(&self, message: &str, files: &[(&str, &str)]) -> String {
        let root = self.repository.workdir().unwrap();
        let mut index = self.repository.index().unwrap();
        for (path, text) in files {
            let file = root.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
            index.add_path(Path::new(path)).unwrap();
        }
        index.write().unwrap();
        let tree = self.repository.find_tree(index.write_tree().unwrap()).unwrap();
        let by = git2::Signature::new("a", "a@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
        let head = self.repository.head().ok().map(|head| head.peel_to_commit().unwrap());
        let parents: Vec<&git2::Commit<'_>> = head.iter().collect();
        self.repository.commit(Some("HEAD"), &by, &by, message, &tree, &parents).unwrap().to_string()
    }

    pub(super) fn instances(&self, instances: &[Value]) -> PathBuf {
        let path = self.path("instances.jsonl");
        std::fs::write(&path, instances.iter().map(|one| format!("{one}\n")).collect::<String>()).unwrap();
        path
    }

    /// A command line, with a model in its environment.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(arguments)
            .env("MENDWRIGHT_MODEL_API_KEY", "sk-story")
            .env("TMPDIR", self.directory.path())
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// The arguments of `fix` and `evaluate` for the model and the tests.
    pub(super) fn model_arguments(&self) -> Vec<String> {
        [["--test", TEST].map(str::to_owned).to_vec(), self.model_without_suite()].concat()
    }

    /// The same without the test command.
    pub(super) fn model_without_suite(&self) -> Vec<String> {
        let url = self.provider.url_for(Provider::OpenAi).to_string();
        ["--provider", "openai", "--model", "scripted-1", "--model-url", &url].map(str::to_owned).to_vec()
    }

    fn evaluate(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&["evaluate"]);
        command.args(self.model_arguments()).args(arguments);
        command
    }

    async fn run(&self, arguments: &[&str]) -> CommandOutput {
        CommandOutput::of(&mut self.evaluate(arguments)).await
    }

    /// How often the model was asked about an issue.
    fn asked(&self, title: &str) -> usize {
        self.provider.requests().iter().filter(|request| request.body.to_string().contains(title)).count()
    }

    pub(super) async fn end(self) {
        assert_no_sandbox_left(self.directory.path());
        self.provider.shut_down().await;
    }
}

fn hidden(expected: u32) -> String {
    format!(
        "diff --git a/t/hidden.t b/t/hidden.t\nnew file mode 100644\n--- /dev/null\n+++ b/t/hidden.t\n@@ -0,0 +1 @@\n\
         +[ $(sh sum.sh 4 5) = {expected} ]\n"
    )
}

pub(super) fn instance(id: &str, base: &str, expected: u32) -> Value {
    json!({
        "instance_id": id, "repo": "octo/widgets", "base_commit": base,
        "problem_statement": format!("The sum of {id} is wrong\n\nIt subtracts."),
        "test_patch": hidden(expected), "patch": "",
        "FAIL_TO_PASS": "[\"hidden\"]", "PASS_TO_PASS": ["zero"]
    })
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn killed_evaluation_resumes_and_repeats_nothing() {
    let bench = EvaluationBench::new().await;
    let base = bench.repository.head().unwrap().target().unwrap().to_string();
    let other = bench.commit("Count otherwise", &[("sum.sh", "expr $1 \\- $2\n")]);
    let file = bench.instances(&[
        instance("right-1", &base, 9),
        instance("wrong", &base, 10),
        instance("stuck", &other, 9),
        instance("right-2", &base, 9),
    ]);
    let file = file.to_str().unwrap();
    let arguments = [
        "--instances",
        file,
        "--repos",
        "repos",
        "--jobs",
        "2",
        "--predictions",
        "out.jsonl",
        "--report",
        "out.md",
    ];
    let mut killed = bench.evaluate(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let results = bench.path("instances.jsonl.state/results.jsonl");
    let has_result = async || !lines(&results).is_empty();
    eventually("a first result", has_result, async || String::new()).await;
    killed.kill().await.unwrap();
    let before = lines(&results);
    assert!(before.len() < 4, "it was killed too late: {before:?}");
    assert!(!bench.path("out.jsonl").exists());
    // As a power cut would leave it.
    let mut text = std::fs::read_to_string(&results).unwrap();
    text.push_str("{\"instance_id\":\"stuck\",\"outco");
    std::fs::write(&results, text).unwrap();
    let finished = before[0]["instance_id"].as_str().unwrap().to_owned();
    let asked = bench.asked(&format!("The sum of {finished} is wrong"));

    let resumed = bench.run(&arguments).await;
    assert_eq!(resumed.code, Some(0), "{}\n{}", resumed.out, resumed.err);
    assert!(
        resumed.err.contains(&format!("4 instances, {} of them already done", before.len())),
        "{}",
        resumed.err
    );
    assert_eq!(
        bench.asked(&format!("The sum of {finished} is wrong")),
        asked,
        "{finished} was worked on again"
    );
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(bench.path("out.json")).unwrap()).unwrap();
    let ended: Vec<(&str, &str, bool)> = report["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            let text = |field: &str| result[field].as_str().unwrap();
            (text("instance_id"), text("outcome"), result["resolved"].as_bool().unwrap())
        })
        .collect();
    let expected = [
        ("right-1", "proposed", true),
        ("wrong", "proposed", false),
        ("stuck", "escalated", false),
        ("right-2", "proposed", true),
    ];
    assert_eq!(ended, expected, "{report:#}");
    assert_eq!(report["results"][1]["judged"]["still_failing"], json!(["hidden"]));
    assert_eq!((&report["resolved"], &report["results"][0]["turns"]), (&json!(2), &json!(3)));
    let rate = &report["resolve_rate"];
    assert!(
        (rate["low"].as_f64().unwrap() - 0.15).abs() < 1e-2
            && (rate["high"].as_f64().unwrap() - 0.85).abs() < 1e-2
    );
    assert!(std::fs::read_to_string(bench.path("out.md")).unwrap().contains("2 of 4: 50.0 %"));

    let predictions = lines(&bench.path("out.jsonl"));
    assert_eq!(predictions.len(), 4);
    assert_eq!(predictions[2]["model_patch"], "");
    let patch = predictions[0]["model_patch"].as_str().unwrap();
    assert!(patch.contains("+echo $(( $1 + $2 ))") && !patch.contains("hidden"), "{patch}");
    assert_eq!(predictions[0]["model_name_or_path"], "scripted-1");
    for request in bench.provider.requests() {
        assert!(!request.body.to_string().contains("hidden"), "the model saw the tests");
    }

    let third = bench.run(&arguments).await;
    assert!(third.err.contains("4 instances, 4 of them already done"), "{}", third.err);
    let branches = bench.repository.branches(None).unwrap().count();
    assert_eq!(branches, 1, "an evaluation writes to nobody's repository");
    bench.end().await;
}

#[tokio::test]
async fn invalid_instance_prevents_the_evaluation() {
    let bench = EvaluationBench::new().await;
    let base = bench.repository.head().unwrap().target().unwrap().to_string();
    let mut malformed = instance("b", &base, 9);
    malformed["base_commit"] = json!("main");
    let file = bench.instances(&[instance("a", &base, 9), malformed]);
    let output = bench.run(&["--instances", file.to_str().unwrap(), "--repos", "repos"]).await;
    assert_eq!(output.code, Some(1));
    assert!(output.err.contains("line 2: base_commit: \"main\" is not 40"), "{}", output.err);
    let elsewhere = instance("c", &"a".repeat(40), 9);
    let mut unknown = instance("d", &base, 9);
    unknown["repo"] = json!("octo/gadgets");
    let file = bench.instances(&[instance("a", &base, 9), elsewhere, unknown]);
    let output = bench.run(&["--instances", file.to_str().unwrap(), "--repos", "repos"]).await;
    assert_eq!(output.code, Some(1));
    assert!(
        output.err.contains("c: base_commit: aaaa") && output.err.contains("d: repo: \"octo/gadgets\""),
        "{}",
        output.err
    );
    assert!(output.err.contains("--clone-from"), "{}", output.err);
    assert!(!bench.path("instances.jsonl.state").exists());
    assert_eq!(bench.provider.requests().len(), 0);
    bench.end().await;
}

#[tokio::test]
async fn history_of_a_repository_yields_instances() {
    let bench = EvaluationBench::new().await;
    bench.commit("Describe the sum", &[("README.md", "It adds.\n")]);
    bench.commit(
        "Fix the sum, which subtracts (#3)\n\nSigned-off-by: A <a@example.org>\n",
        &[("sum.sh", "echo $(( $1 + $2 ))\n"), ("t/sum.t", "[ $(sh sum.sh 4 5) = 9 ]\n")],
    );
    bench.commit("Fix a comment", &[("sum.sh", "# Adds.\necho $(( $1 + $2 ))\n"), ("t/one.t", "true\n")]);
    let output = bench
        .run(&[
            "--history",
            "repos/widgets",
            "--last",
            "5",
            "--write",
            "past.jsonl",
            "--solve",
            "--report",
            "out.md",
        ])
        .await;
    assert_eq!(output.code, Some(0), "{}\n{}", output.out, output.err);
    let instances = lines(&bench.path("past.jsonl"));
    assert_eq!(instances.len(), 1, "{instances:?}");
    assert_eq!(instances[0]["FAIL_TO_PASS"], json!(["sum"]));
    assert_eq!(instances[0]["problem_statement"], "Fix the sum, which subtracts (#3)");
    assert!(instances[0]["test_patch"].as_str().unwrap().contains("t/sum.t"));
    let report = std::fs::read_to_string(bench.path("out.md")).unwrap();
    for part in [
        "| Past fixes that brought tests | 2 |",
        "its tests pass without the fix, too",
        "usable, 1 tests",
        "1 of 1: 100.0 %",
    ] {
        assert!(report.contains(part), "{part} is missing: {report}");
    }
    bench.end().await;
}
