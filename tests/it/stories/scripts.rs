//! Scripts that the model runs: in sandboxes of their own, with the work so far, and without any effect on it.

use mendwright::domain::{AllowedHost, JobSettings};
use mendwright::sandbox::CommandSpec;
use mendwright::sandbox::protocol::WriteFile;
use mendwright::testing::{ScriptLanguage, run_script, script_languages};
use serde_json::json;

use crate::support::{World, commit_files, conversation, environment_of, environment_with};

const BODY: &str = "This prints three dashes:\n\n```sh\n. src/slug.sh\nslug 'Rust & C'\n```\n";
const RIGHT: &str = "sed -E 's/[^a-z0-9]+/-/g; s/^-//; s/-$//'";

fn tools_of_first_request(world: &World) -> String {
    world.provider.requests()[0].body["tools"].to_string()
}

#[tokio::test]
async fn script_sees_the_work_so_far_and_leaves_nothing_behind() {
    let stray = ". src/slug.sh\nslug 'a  b'\necho broken > src/slug.sh\necho x > stray.txt\nls /workspace";
    let script = conversation()
        .turn("The issue's example.")
        .call("run_script", json!({"language": "sh"}))
        .turn("It is wrong.")
        .expect(&["`sh`: exit code 0", "rust---c"])
        .edit("src/slug.sh", "sed 's/[^a-z0-9]/-/g'", RIGHT)
        .call("run_script", json!({"language": "sh", "script": stray}))
        .call("read_file", json!({"path": "stray.txt"}))
        .turn("It is right.")
        .expect(&["a-b", "mendwright_script.sh", "stray.txt"])
        .call("run_tests", json!({}))
        .call("run_script", json!({"language": "cobol", "script": "DISPLAY 1."}))
        .turn("Done.")
        .expect(&["Now passing", "\"cobol\" cannot be run here. The languages are: "])
        .finish("One dash for a run of separators.");
    let mut world = World::builder().script(script).issue_body(BODY).start().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    let git = world.git();
    let head = git.find_branch("agent-fix/issue-1", git2::BranchType::Local).unwrap();
    let tree = head.get().peel_to_tree().unwrap();
    assert!(tree.get_name("stray.txt").is_none() && tree.get_name("mendwright_script.sh").is_none());
    let source = tree.get_path(std::path::Path::new("src/slug.sh")).unwrap();
    let text = git.find_blob(source.id()).unwrap().content().to_vec();
    assert!(String::from_utf8(text).unwrap().contains(RIGHT));
    let tools = tools_of_first_request(&world);
    assert!(tools.contains("Without `script`, the issue's first code block in sh is run."), "{tools}");
    world.end().await;
}

#[tokio::test]
async fn operator_can_switch_scripts_off() {
    let script = conversation()
        .turn("I try.")
        .call("run_script", json!({"language": "sh", "script": "true"}))
        .turn("I cannot.")
        .expect(&["There is no tool \"run_script\"."])
        .ask("May scripts be run?");
    let mut world = World::builder().script(script).start().await;
    world.start_service_with_environment(&[("MENDWRIGHT_SANDBOX_SCRIPTS", "false")]).await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert!(!tools_of_first_request(&world).contains("run_script"));
    world.end().await;
}

/// The repository's files, a script that imports them, and what it prints.
struct Language {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    script: &'static str,
}

const LANGUAGES: &[Language] = &[
    Language {
        name: "python",
        files: &[("src/calc/__init__.py", "def double(a):\n    return a * 2\n")],
        script: "from calc import double\nprint('answer', double(21))\n",
    },
    Language {
        name: "node",
        files: &[("calc.js", "exports.double = (a) => a * 2;\n")],
        script: "console.log('answer', require('./calc').double(21));\n",
    },
    Language {
        name: "node",
        files: &[("calc.mjs", "export const double = (a) => a * 2;\n")],
        script: "import { double } from './calc.mjs';\nconsole.log('answer', double(21));\n",
    },
    Language {
        name: "ruby",
        files: &[("lib/calc.rb", "def double(a) = a * 2\n")],
        script: "require 'calc'\nputs \"answer #{double(21)}\"\n",
    },
    Language {
        name: "perl",
        files: &[("lib/Calc.pm", "package Calc;\nsub double { $_[0] * 2 }\n1;\n")],
        script: "use Calc;\nprint 'answer ', Calc::double(21), \"\\n\";\n",
    },
    Language {
        name: "php",
        files: &[("calc.php", "<?php\nfunction double($a) { return $a * 2; }\n")],
        script: "<?php\nrequire __DIR__ . '/calc.php';\necho 'answer ', double(21), \"\\n\";\n",
    },
    Language {
        name: "go",
        files: &[
            ("go.mod", "module example.org/calc\n\ngo 1.18\n"),
            ("internal/calc/calc.go", "package calc\n\nfunc Double(a int) int { return a * 2 }\n"),
        ],
        script: "package main\n\nimport (\n\t\"fmt\"\n\n\t\"example.org/calc/internal/calc\"\n)\n\nfunc main() { \
                 fmt.Println(\"answer\", calc.Double(21)) }\n",
    },
    Language {
        name: "rust",
        files: &[
            ("Cargo.toml", "[package]\nname = \"calc\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
            ("src/lib.rs", "pub fn double(a: i32) -> i32 {\n    a * 2\n}\n"),
        ],
        script: "fn main() {\n    println!(\"answer {}\", calc::double(21));\n}\n",
    },
    Language {
        name: "sh",
        files: &[("calc.sh", "double() { echo $(($1 * 2)); }\n")],
        script: ". ./calc.sh\necho answer $(double 21)\n",
    },
];

#[tokio::test]
#[ignore = "needs Go, Node, Perl, PHP, Python and Ruby"]
async fn script_of_each_language_uses_the_repository() {
    let settings = JobSettings::of_test_command("make check");
    for Language { name, files, script } in LANGUAGES {
        let directory = tempfile::tempdir().unwrap();
        let repository = directory.path().join("repository");
        commit_files(&repository, files.iter().copied());
        let environment = environment_of(&repository, directory.path(), &settings).await;
        let toolbox = environment.for_script(Vec::new()).await.unwrap().unwrap();
        let language = ScriptLanguage::named(name).unwrap();
        let offered = script_languages(&toolbox, environment.workspace()).await.unwrap();
        assert!(offered.contains(&language), "{name} is not among {offered:?}");
        let result = run_script(&toolbox, &settings, language, script).await.unwrap();
        let text = result.output.to_text();
        assert!(
            result.ending.is_success() && text.contains("answer 42"),
            "{name}: {:?} {text}",
            result.ending
        );
        toolbox.shut_down().await;
    }
}

#[tokio::test]
async fn script_has_no_network_where_the_tests_have_some() {
    let directory = tempfile::tempdir().unwrap();
    let repository = directory.path().join("repository");
    commit_files(&repository, [("a", "text")]);
    let host = AllowedHost::parse("registry.example.org").unwrap();
    let settings = JobSettings::of_test_command("true");
    let environment = environment_with(&repository, directory.path(), &settings, vec![host]).await;
    let base = environment.workspace().base_tree().await.unwrap();
    let work = environment.fresh(&base, "work").await.unwrap().unwrap();
    let script = environment.for_script(Vec::new()).await.unwrap().unwrap();
    assert!(!work.description().contains("no network"), "{}", work.description());
    assert!(script.description().contains("no network"), "{}", script.description());
    let ask = CommandSpec::shell("env | grep -i proxy", std::time::Duration::from_secs(60));
    assert!(
        work.run(&ask).await.unwrap().output.to_text().contains("http"),
        "the work's sandbox has a proxy"
    );
    assert_eq!(script.run(&ask).await.unwrap().output.to_text(), "");
    work.shut_down().await;
    script.shut_down().await;
}

#[tokio::test]
async fn languages_that_need_more_than_an_interpreter_are_offered_where_they_can_be_run() {
    let directory = tempfile::tempdir().unwrap();
    let repository = directory.path().join("repository");
    commit_files(&repository, [("Cargo.toml", "[workspace]\nmembers = []\n")]);
    let environment =
        environment_of(&repository, directory.path(), &JobSettings::of_test_command("true")).await;
    let toolbox = environment.for_script(Vec::new()).await.unwrap().unwrap();
    // What the model writes does not count: a job's tools stay the same.
    let content = "module example.org/calc\n".to_owned();
    toolbox.write_file(&WriteFile { path: "go.mod".to_owned(), content, executable: None }).await.unwrap();
    let offered = script_languages(&toolbox, environment.workspace()).await.unwrap();
    assert!(offered.contains(&ScriptLanguage::Shell));
    assert!(
        !offered.contains(&ScriptLanguage::Rust) && !offered.contains(&ScriptLanguage::Go),
        "{offered:?}"
    );
    toolbox.shut_down().await;
}

#[tokio::test]
async fn linters_that_the_repository_configures_check_what_was_written() {
    let ruff = "#!/bin/sh\nfor file in \"$@\"; do\n    case $file in *.py) if grep -Hn TODO \"$file\"; then exit 1; fi ;; \
                esac\ndone\n";
    let files = [
        ("ruff.toml", "line-length = 100\n"),
        (".venv/bin/ruff", ruff),
        ("mypy.ini", "[mypy]\n"),
        ("old.py", "# TODO: old\n"),
    ];
    let script = conversation()
        .turn("Nothing to check yet.")
        .expect(&["The repository configures mypy, which the sandbox does not have."])
        .call("check_files", json!({}))
        .turn("Write.")
        .expect(&["You have not written a file yet that one of them reads."])
        .write("new.py", "x = 1  # TODO: more\n")
        .edit("src/slug.sh", "sed 's/[^a-z0-9]/-/g'", RIGHT)
        .call("check_files", json!({}))
        .turn("Correct it.")
        .expect(&["`ruff`: exit code 1", "./new.py:1:x = 1  # TODO: more"])
        .edit("new.py", "  # TODO: more", "")
        .call("check_files", json!({}))
        .turn("Done.")
        .expect(&["`ruff`: no problem."])
        .finish("One dash for a run of separators.");
    let mut world = World::builder().script(script).files(&files).start().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert_eq!(world.pulls().len(), 1, "{}", world.log());
    assert!(tools_of_first_request(&world).contains(" Here: ruff."));
    let requests = world.provider.requests();
    assert!(!requests.last().unwrap().body.to_string().contains("old.py:"));
    world.end().await;
}
