//! The client against the emulated GitHub of another project: npm's `emulate`. `.ci/run` installs it and
//! sets MENDWRIGHT_TEST_EMULATE to its directory.
//!
//! It has Apps, tokens with scope and permissions, issues, comments, draft pull requests and references.
//! Whole stories are not possible: it has no git, no reactions, no manifest flow, no delivery log and no
//! list of an installation's repositories; its pull requests are not issues, so they have no comments;
//! and a label that an issue is opened with leaves no event. The test also requests what it lacks: the
//! result must be an error.

use mendwright::domain::{
    InstallationId, IssueNumber, Permission, PullRequestNumber, RepositoryId, RepositoryRef,
};
use mendwright::github::{
    AppClient, GitHub, GitHubConnection, GitHubError, LabelledPage, NewPullRequest, OctocrabGitHub,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const APP: u64 = 4711;
const INSTALLATION: u64 = 100;
/// A personal token of the repository's owner, for what people do.
const PERSON: &str = "ghp_octo_maintainer";

struct Emulate {
    url: url::Url,
    connection: GitHubConnection,
    client: reqwest::Client,
    _process: Child,
}

impl Emulate {
    async fn start() -> Self {
        let installed = std::env::var("MENDWRIGHT_TEST_EMULATE").expect("MENDWRIGHT_TEST_EMULATE");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let permissions = json!({
            "checks": "write", "contents": "write", "issues": "write", "metadata": "read",
            "pull_requests": "write",
        });
        let seed = json!({
            "tokens": {PERSON: {"login": "octo-maintainer", "scopes": ["repo", "user"]}},
            "github": {
                "users": [{"login": "octo-maintainer"}, {"login": "octo-reader"}],
                "repos": [{"owner": "octo-maintainer", "name": "greeter", "private": true}],
                "apps": [{
                    "app_id": APP, "slug": "mender", "name": "Mender", "permissions": permissions,
                    "events": ["issues"],
                    "installations": [{"installation_id": INSTALLATION, "account": "octo-maintainer"}],
                }],
            },
        });
        let mut process = Command::new("node")
            .args(["--input-type=module", "--eval", include_str!("emulate.mjs"), "--"])
            .args([port.to_string(), seed.to_string()])
            .current_dir(installed)
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(crate::support::WAIT_MAX, lines.next_line()).await.expect("a line");
        let started: Value = serde_json::from_str(&line.unwrap().expect("emulate starts")).unwrap();
        let url: url::Url = format!("http://127.0.0.1:{port}").parse().unwrap();
        let connection = GitHubConnection {
            api_url: url.clone(),
            web_url: url.clone(),
            app_id: APP,
            private_key_pem: started["key"].as_str().unwrap().into(),
        };
        let client = reqwest::Client::builder().no_proxy().user_agent("mendwright-tests").build().unwrap();
        Self { url, connection, client, _process: process }
    }

    /// A request of a person.
    async fn person(&self, method: &str, path: &str, body: Value) -> Value {
        let address = self.url.join(path).unwrap();
        let request = self.client.request(method.parse().unwrap(), address).bearer_auth(PERSON);
        let answer = request.json(&body).send().await.unwrap();
        let status = answer.status();
        let body = answer.text().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {body}");
        serde_json::from_str(&body).unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(self.url.join(path).unwrap()).bearer_auth(PERSON).send().await.unwrap();
        answer.json().await.unwrap()
    }
}

#[tokio::test]
#[ignore = "needs npm's emulate"]
async fn emulator_of_another_project_accepts_our_requests() {
    let emulate = Emulate::start().await;
    let repo = "/repos/octo-maintainer/greeter";
    let id = emulate.get(repo).await["id"].as_u64().unwrap();
    let at = RepositoryRef {
        installation: InstallationId(INSTALLATION),
        id: RepositoryId(id),
        name: "octo-maintainer/greeter".parse().unwrap(),
    };
    let new = json!({"title": "greet() fails", "body": "NameError"});
    emulate.person("POST", &format!("{repo}/labels"), json!({"name": "agent-fix", "color": "ededed"})).await;
    let made = emulate.person("POST", &format!("{repo}/issues"), new).await;
    let number = IssueNumber(made["number"].as_u64().unwrap());
    let labels = json!({"labels": ["agent-fix"]});
    emulate.person("POST", &format!("{repo}/issues/{number}/labels"), labels).await;

    // The App itself.
    let app = AppClient::new(&emulate.connection).unwrap();
    let (_, facts) = app.app_info().await.unwrap();
    assert_eq!(facts.unwrap().slug, "mender");
    let installations = app.installations().await.unwrap();
    assert_eq!((installations.len(), installations[0].id), (1, INSTALLATION));
    assert!(!installations[0].suspended);
    assert_eq!(installations[0].permissions["pull_requests"], "write");

    // The repository, people, the issue.
    let github = OctocrabGitHub::new(emulate.connection.clone()).unwrap();
    let repository = github.repository(&at).await.unwrap();
    assert_eq!((repository.default_branch.as_str(), repository.archived), ("main", false));
    let permission = async |login: &str| github.permission(&at, &login.parse().unwrap()).await.unwrap();
    assert_eq!(permission("octo-maintainer").await, Permission::Admin);
    assert!(permission("octo-reader").await < Permission::Write);
    assert_eq!(permission("nobody-at-all").await, Permission::None);
    let issue = github.issue(&at, number).await.unwrap();
    assert_eq!((issue.snapshot.title.as_str(), issue.open, issue.locked), ("greet() fails", true, false));
    assert!(!issue.is_pull_request && issue.snapshot.labels.iter().any(|label| label == "agent-fix"));
    assert!(matches!(github.issue(&at, IssueNumber(99)).await, Err(GitHubError::NotFound { .. })));

    // What reconciliation looks for.
    let LabelledPage::Issues { issues, .. } = app.labelled_issues(&at, "agent-fix", 10, None).await.unwrap()
    else {
        panic!("no tag was sent")
    };
    assert_eq!(issues.iter().map(|found| found.snapshot.number).collect::<Vec<_>>(), [number]);
    let event = app.last_label_event(&at, number, "agent-fix").await.unwrap();
    assert_eq!(event.expect("somebody labelled it").labeller, "octo-maintainer");

    // Comments: ours among other people's, over three pages.
    let ours = github.create_comment(&at, number, "I am on it <!-- marker -->").await.unwrap();
    for count in 0..205 {
        let body = json!({"body": format!("me too {count}")});
        emulate.person("POST", &format!("{repo}/issues/{number}/comments"), body).await;
    }
    let last = github.create_comment(&at, number, "Done").await.unwrap();
    github.update_comment(&at, ours.id, "I was on it <!-- marker -->").await.unwrap();
    let found = github.our_comments(&at, number).await.unwrap();
    assert_eq!(found.iter().map(|comment| comment.id).collect::<Vec<_>>(), [ours.id, last.id]);
    assert_eq!(found[0].body, "I was on it <!-- marker -->");

    // A branch and its draft.
    let base = github.branch_head(&at, "main").await.unwrap().unwrap();
    assert_eq!(github.branch_head(&at, "agent-fix/issue-1").await.unwrap(), None);
    let file = json!({"message": "Mend", "content": "TWVuZGVkCg==", "branch": "agent-fix/issue-1"});
    let reference = json!({"ref": "refs/heads/agent-fix/issue-1", "sha": base.as_str()});
    emulate.person("POST", &format!("{repo}/git/refs"), reference).await;
    emulate.person("PUT", &format!("{repo}/contents/MENDED.md"), file).await;
    let head = github.branch_head(&at, "agent-fix/issue-1").await.unwrap().unwrap();
    assert_ne!(head, base);
    assert_eq!(github.find_pull_request(&at, "agent-fix/issue-1").await.unwrap(), None);
    let new = NewPullRequest {
        title: "Mend greet()".into(),
        body: format!("Fixes #{number}"),
        head: "agent-fix/issue-1".into(),
        base: "main".into(),
    };
    let opened = github.create_draft_pull_request(&at, &new).await.unwrap();
    assert!(opened.draft);
    assert_eq!(opened.head_sha, head);
    github.update_pull_request(&at, opened.number, "Mend greet() at last", "Better").await.unwrap();
    let found = github.find_pull_request(&at, "agent-fix/issue-1").await.unwrap().unwrap();
    assert_eq!((found.number, found.body.as_str(), found.draft), (opened.number, "Better", true));
    let as_issue = github.issue(&at, IssueNumber(opened.number.0)).await;
    // Unlike GitHub's, its pull requests are not issues.
    assert!(matches!(as_issue, Err(GitHubError::NotFound { .. })), "{as_issue:?}");
    let missing = github.update_pull_request(&at, PullRequestNumber(999), "t", "b").await;
    assert!(matches!(missing, Err(GitHubError::NotFound { .. })), "{missing:?}");

    let access = github.git_access(&at).await.unwrap();
    assert!(access.token.expose_secret().starts_with("ghs_"));
    let identity = github.app_identity().await.unwrap();
    assert_eq!(identity.slug, "mender");
    assert_eq!(json!(identity.bot_user_id), emulate.get("/users/mender%5Bbot%5D").await["id"]);

    // A missing endpoint is an error, not an empty answer.
    assert!(matches!(github.react_with_eyes(&at, number).await, Err(GitHubError::NotFound { .. })));
    let lacking = [
        app.webhook_config().await.map(drop),
        app.newest_deliveries().await.map(drop),
        app.repositories(INSTALLATION).await.map(drop),
    ];
    for lack in lacking {
        assert!(matches!(lack, Err(GitHubError::NotFound { .. })), "{lack:?}");
    }
}
