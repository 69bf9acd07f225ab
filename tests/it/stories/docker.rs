//! The commands that need no GitHub, with Docker as their sandbox.

use serde_json::{Value, json};

use super::evaluation::{EvaluationBench, instance};
use crate::support::CommandOutput;

/// The sandbox of the commands.
const DOCKER: [&str; 4] = ["--sandbox", "docker", "--image", "mendwright-test:2"];

#[tokio::test]
#[ignore = "needs Docker"]
async fn fix_in_docker_is_verified_and_replayed_there() {
    let bench = EvaluationBench::new().await;
    std::fs::write(bench.path("issue.md"), "# The sum is wrong\n\nIt subtracts.\n").unwrap();
    let fix = ["fix", "--json", "--repo", "repos/widgets", "--issue", "issue.md"];
    let fixed = CommandOutput::of(bench.command(&fix).args(bench.model_arguments()).args(DOCKER)).await;
    assert_eq!(fixed.code, Some(0), "{}\n{}", fixed.out, fixed.err);
    let end: Value = serde_json::from_str(fixed.out.lines().last().unwrap()).unwrap();
    let file = |name: &str| end[name].as_str().unwrap().to_owned();
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(file("manifest")).unwrap()).unwrap();
    let sandbox = manifest["sandbox"]["description"].as_str().unwrap();
    assert!(sandbox.starts_with("Docker Engine ") && sandbox.contains("; image sha256:"), "{sandbox}");

    let digest = manifest["sha256"].as_str().unwrap();
    let verify = ["verify", "--manifest", &file("manifest"), "--repo", "repos/widgets", "--digest", digest];
    // The base commit names no test command, and the job was given one.
    let test = ["--test", "sh t/run.sh"];
    let verified = CommandOutput::of(bench.command(&verify).args(test).args(DOCKER)).await;
    assert_eq!(verified.code, Some(0), "{}\n{}", verified.out, verified.err);
    assert!(verified.out.ends_with("The verdict holds.\n"), "{}", verified.out);

    let transcript = file("transcript");
    let replay = ["replay", &transcript, "--repo", "repos/widgets"];
    let replayed = CommandOutput::of(bench.command(&replay).args(DOCKER)).await;
    assert_eq!(replayed.code, Some(0), "{}\n{}", replayed.out, replayed.err);
    assert!(replayed.out.starts_with("Replayed 3 of 3 recorded turns; "), "{}", replayed.out);
    bench.end().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn setup_agent_finds_the_suite_in_docker() {
    let bench = EvaluationBench::new().await;
    std::fs::write(bench.path("issue.md"), "# The sum is wrong\n\nIt subtracts.\n").unwrap();
    let fix =
        ["fix", "--json", "--repo", "repos/widgets", "--issue", "issue.md", "--allow", "registry.example"];
    let fixed = CommandOutput::of(bench.command(&fix).args(bench.model_without_suite()).args(DOCKER)).await;
    assert_eq!(fixed.code, Some(0), "{}\n{}", fixed.out, fixed.err);
    let manifest = fixed.last_json()["manifest"].as_str().unwrap().to_owned();
    let read: Value = serde_json::from_str(&std::fs::read_to_string(&manifest).unwrap()).unwrap();
    assert_eq!(read["suite"]["test_command"], "sh t/run.sh");
    assert_eq!(read["suite"]["test_command_source"], "the setup agent");
    // Nothing in the base commit says the command.
    let digest = read["sha256"].as_str().unwrap();
    let verify = ["verify", "--manifest", &manifest, "--repo", "repos/widgets", "--digest", digest];
    let refused = CommandOutput::of(bench.command(&verify).args(DOCKER)).await;
    assert_eq!(refused.code, Some(1), "{}\n{}", refused.out, refused.err);
    assert!(refused.out.contains("give them with --test and --setup: `sh t/run.sh`"), "{}", refused.out);
    let test = ["--test", "sh t/run.sh"];
    let verified = CommandOutput::of(bench.command(&verify).args(test).args(DOCKER)).await;
    assert_eq!(verified.code, Some(0), "{}\n{}", verified.out, verified.err);
    bench.end().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn evaluation_in_docker_uses_the_hidden_tests() {
    let bench = EvaluationBench::new().await;
    let base = bench.repository.head().unwrap().target().unwrap().to_string();
    let file = bench.instances(&[instance("right", &base, 9), instance("wrong", &base, 10)]);
    let arguments =
        ["evaluate", "--instances", file.to_str().unwrap(), "--repos", "repos", "--report", "out.md"];
    let output =
        CommandOutput::of(bench.command(&arguments).args(bench.model_arguments()).args(DOCKER)).await;
    assert_eq!(output.code, Some(0), "{}\n{}", output.out, output.err);
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(bench.path("out.json")).unwrap()).unwrap();
    let resolved: Vec<&Value> =
        report["results"].as_array().unwrap().iter().map(|result| &result["resolved"]).collect();
    assert_eq!(resolved, [&json!(true), &json!(false)], "{report:#}");
    bench.end().await;
}
