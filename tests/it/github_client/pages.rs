//! Lists of several pages, read from the emulated GitHub.

use mendwright::domain::IssueNumber;
use mendwright::github::{AppClient, GitHubConnection, LabelledPage};
use mendwright_emulator::github::{EmulatedGitHub, EmulatorOptions, RepositorySource};
use serde_json::Value;

const LABEL: &str = "agent-fix";

async fn emulated(directory: &tempfile::TempDir) -> (EmulatedGitHub, AppClient) {
    let github = EmulatedGitHub::start(EmulatorOptions::new(directory.path())).await.unwrap();
    let files = [("a.txt".to_owned(), b"a".to_vec())];
    github.add_repository("octo-org/first", RepositorySource::Files(&files)).unwrap();
    let credentials = github.credentials();
    let client = AppClient::new(&GitHubConnection {
        api_url: github.api_url(),
        web_url: github.url().clone(),
        app_id: credentials.app_id,
        private_key_pem: credentials.private_key_pem.clone(),
    });
    (github, client.unwrap())
}

fn calls(github: &EmulatedGitHub, operation: &str) -> u64 {
    github.state()["calls"][operation].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn labelled_issues_and_events_are_read_from_three_pages() {
    let directory = tempfile::tempdir().unwrap();
    let (github, client) = emulated(&directory).await;
    for number in 1..=230 {
        github.open_issue(&format!("issue {number}"), "", "octo-reader").unwrap();
        if number != 100 {
            github.label_issue(number, LABEL, "octo-maintainer").await.unwrap();
        }
    }
    for _ in 0..125 {
        github.unlabel_issue(7, LABEL, "octo-writer").await.unwrap();
        github.label_issue(7, LABEL, "octo-writer").await.unwrap();
    }
    github.label_issue(7, "another", "octo-reader").await.unwrap();
    let installation = client.installations().await.unwrap().remove(0);
    let at = client.repositories(installation.id).await.unwrap().remove(0);

    let LabelledPage::Issues { issues, tag } = client.labelled_issues(&at, LABEL, 1_000, None).await.unwrap()
    else {
        panic!("no tag was sent")
    };
    let mut numbers: Vec<u64> = issues.iter().map(|issue| issue.snapshot.number.0).collect();
    assert_eq!((numbers[0], numbers[numbers.len() - 1]), (1, 7), "the last change comes last");
    numbers.sort_unstable();
    let expected: Vec<u64> = (1..=230).filter(|number| *number != 100).collect();
    assert_eq!(numbers, expected);
    assert_eq!(calls(&github, "issues/list-for-repo"), 3);
    let LabelledPage::Issues { issues, .. } = client.labelled_issues(&at, LABEL, 100, None).await.unwrap()
    else {
        panic!("no tag was sent")
    };
    assert_eq!(issues.len(), 100, "the bound");
    assert_eq!(issues[99].snapshot.number.0, 7, "the last changes are within it");
    let again = async || client.labelled_issues(&at, LABEL, 1_000, tag.as_deref()).await.unwrap();
    assert!(tag.is_some() && matches!(again().await, LabelledPage::Unchanged));
    github.comment(3, "hello", "octo-reader").await.unwrap();
    assert!(matches!(again().await, LabelledPage::Issues { .. }), "a change on the last page");

    let last = client.last_label_event(&at, IssueNumber(7), LABEL).await.unwrap().unwrap();
    assert_eq!((last.labeller.as_str(), last.labeller_is_bot), ("octo-writer", false));
    assert_eq!(calls(&github, "issues/list-events"), 3, "252 events");
    assert_eq!(client.last_label_event(&at, IssueNumber(100), LABEL).await.unwrap(), None);
}

#[tokio::test]
async fn unchanged_list_is_not_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let (github, client) = emulated(&directory).await;
    let number = github.open_issue("one", "", "octo-reader").unwrap();
    github.label_issue(number, LABEL, "octo-maintainer").await.unwrap();
    let installation = client.installations().await.unwrap().remove(0);
    let at = client.repositories(installation.id).await.unwrap().remove(0);
    let list = async |tag: Option<&str>| client.labelled_issues(&at, LABEL, 100, tag).await.unwrap();
    let LabelledPage::Issues { tag: Some(tag), .. } = list(None).await else { panic!("no tag") };
    assert!(matches!(list(Some(&tag)).await, LabelledPage::Unchanged));
    github.comment(number, "hello", "octo-reader").await.unwrap();
    assert!(matches!(list(Some(&tag)).await, LabelledPage::Issues { .. }));
}

#[tokio::test]
async fn failed_deliveries_are_read_until_the_requested_time() {
    let directory = tempfile::tempdir().unwrap();
    let (github, client) = emulated(&directory).await;
    github.set_webhook_url(Some("http://127.0.0.1:1/nobody".parse().unwrap()));
    for number in 1..=210 {
        github.open_issue(&format!("issue {number}"), "", "octo-reader").unwrap();
    }
    github.deliveries_settled().await;
    let now = jiff::Timestamp::now();
    let failed = client.failed_deliveries(now - jiff::SignedDuration::from_hours(1)).await.unwrap();
    assert_eq!(failed.len(), 210);
    assert_eq!(calls(&github, "apps/list-webhook-deliveries"), 3);
    let later = now + jiff::SignedDuration::from_hours(1);
    assert_eq!(client.failed_deliveries(later).await.unwrap(), []);
    assert_eq!(calls(&github, "apps/list-webhook-deliveries"), 4, "the first page was enough");
    client.redeliver(failed[0].id).await.unwrap();
    github.deliveries_settled().await;
    let state = github.state();
    let last: &Value = state["deliveries"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["guid"], &last["redelivery"]), (&failed[0].guid.as_str().into(), &true.into()));
}
