//! The commands that need no GitHub, over Docker: each is told the backend and the image.

use serde_json::{Value, json};

use super::evaluation::{Lab, Said, instance};

/// Where the commands work.
const DOCKER: [&str; 4] = ["--sandbox", "docker", "--image", "mendwright-test:1"];

#[tokio::test]
#[ignore = "needs Docker"]
async fn what_was_fixed_over_docker_is_verified_and_done_again_there() {
    let lab = Lab::new().await;
    std::fs::write(lab.path("issue.md"), "# The sum is wrong\n\nIt subtracts.\n").unwrap();
    let fix = ["fix", "--json", "--repo", "repos/widgets", "--issue", "issue.md"];
    let fixed = Said::of(lab.command(&fix).args(lab.told()).args(DOCKER)).await;
    assert_eq!(fixed.code, Some(0), "{}\n{}", fixed.out, fixed.err);
    let end: Value = serde_json::from_str(fixed.out.lines().last().unwrap()).unwrap();
    let file = |name: &str| end[name].as_str().unwrap().to_owned();
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(file("manifest")).unwrap()).unwrap();
    let sandbox = manifest["sandbox"]["description"].as_str().unwrap();
    assert!(sandbox.starts_with("Docker Engine ") && sandbox.contains("; image sha256:"), "{sandbox}");

    let verify = ["verify", "--manifest", &file("manifest"), "--repo", "repos/widgets"];
    let verified = Said::of(lab.command(&verify).args(DOCKER)).await;
    assert_eq!(verified.code, Some(0), "{}\n{}", verified.out, verified.err);
    assert!(verified.out.ends_with("The verdict holds.\n"), "{}", verified.out);

    let transcript = file("transcript");
    let replay = ["replay", &transcript, "--repo", "repos/widgets"];
    let again = Said::of(lab.command(&replay).args(DOCKER)).await;
    assert_eq!(again.code, Some(0), "{}\n{}", again.out, again.err);
    assert!(again.out.starts_with("3 of 3 recorded turns were done again; "), "{}", again.out);
    lab.end().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn an_evaluation_over_docker_judges_by_the_hidden_tests() {
    let lab = Lab::new().await;
    let base = lab.repository.head().unwrap().target().unwrap().to_string();
    let file = lab.instances(&[instance("right", &base, 9), instance("wrong", &base, 10)]);
    let arguments =
        ["evaluate", "--instances", file.to_str().unwrap(), "--repos", "repos", "--report", "out.md"];
    let said = Said::of(lab.command(&arguments).args(lab.told()).args(DOCKER)).await;
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(lab.path("out.json")).unwrap()).unwrap();
    let resolved: Vec<&Value> =
        report["results"].as_array().unwrap().iter().map(|result| &result["resolved"]).collect();
    assert_eq!(resolved, [&json!(true), &json!(false)], "{report:#}");
    lab.end().await;
}
