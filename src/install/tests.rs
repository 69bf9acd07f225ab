//! What the pages say, and what they ask for.

use std::path::Path;

use super::manifest::{heard_by, manifest_for, reason};
use super::*;

fn place(public_url: Option<&str>, address: &str, github: &str) -> Place {
    Place {
        api_url: format!("{github}/api/v3").parse().unwrap(),
        web_url: github.parse().unwrap(),
        public_url: public_url.map(|url| url.parse().unwrap()),
        address: address.parse().unwrap(),
        data_dir: "/var/lib/mendwright".into(),
        label: "agent-fix".into(),
    }
}

#[test]
fn every_permission_and_event_is_explained_to_the_operator() {
    let manifest = manifest();
    for name in manifest.default_permissions.keys() {
        assert_ne!(reason(name), "", "{name}");
    }
    for event in &manifest.default_events {
        assert_ne!(heard_by(event), "", "{event}");
    }
}

#[test]
fn the_manifest_has_the_services_own_addresses_and_an_organisations_name() {
    let manifest =
        manifest_for(&"https://m.example/x/".parse().unwrap(), Some("a-very-long-organisation-name"));
    assert_eq!(manifest.hook_attributes.url, "https://m.example/x/webhooks/github");
    assert_eq!(manifest.redirect_url, "https://m.example/x/setup/callback");
    assert_eq!(manifest.name, "mendwright-a-very-long-organisatio");
    assert!(!serde_json::to_string(&manifest).unwrap().contains("example.com"));
}

#[test]
fn the_page_is_exposed_where_a_stranger_could_reach_it() {
    let github = "https://github.com";
    assert!(!place(None, "127.0.0.1:8080", github).is_exposed());
    assert!(!place(Some("http://localhost:8080"), "127.0.0.1:8080", github).is_exposed());
    assert!(place(Some("https://m.example"), "127.0.0.1:8080", github).is_exposed(), "a proxy is before it");
    assert!(place(None, "0.0.0.0:8080", github).is_exposed());
    assert_eq!(place(None, "127.0.0.1:8080", github).base(), None, "GitHub could not reach it");
    let own = place(None, "0.0.0.0:8080", "http://127.0.0.1:99");
    assert_eq!(own.base().unwrap().as_str(), "http://127.0.0.1:8080/");
}

#[test]
fn the_first_page_says_what_is_asked_why_and_what_comes_next() {
    let base = "https://mend.example.org".parse().unwrap();
    let page = page::start(&page::Start {
        manifest: &manifest_for(&base, None),
        action: &"https://github.com/settings/apps/new?state=STATE".parse().unwrap(),
        web_url: &"https://github.com".parse().unwrap(),
        organisation: None,
        setup: "/setup",
        kept: &CredentialSink::InDataDir.described(Path::new("/var/lib/mendwright")),
        on_disk: true,
        interrupted: false,
    });
    insta::assert_snapshot!(page.html("/setup/style.css"), @r#"
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Register Mendwright with GitHub · Mendwright</title>
    <link rel="stylesheet" href="/setup/style.css">
    </head>
    <body>
    <main>
    <h1>Register Mendwright with GitHub</h1>
    <p>Mendwright works as a GitHub App of your own. This page registers it: one button here, one confirmation on GitHub.</p>
    <h2>What it asks GitHub for</h2>
    <table>
    <tr><th>Permission</th><th>Level</th><th>Why</th></tr>
    <tr><td>checks</td><td>write</td><td>to show a check on its own branch</td></tr>
    <tr><td>contents</td><td>write</td><td>to fetch the code, and to push a branch of its own (agent-fix/…)</td></tr>
    <tr><td>issues</td><td>write</td><td>to read the labelled issue, and to report on it</td></tr>
    <tr><td>metadata</td><td>read</td><td>to see the repository, and whether whoever put the label on may ask for work</td></tr>
    <tr><td>pull requests</td><td>write</td><td>to open a draft pull request, and to keep it up to date</td></tr>
    </table>
    <p>It hears of these events: <code>issues</code> (a label is put on or taken off, an issue is closed), <code>issue_comment</code> (somebody writes a comment), <code>pull_request</code> (a pull request is closed), <code>pull_request_review</code> (a review is submitted), <code>pull_request_review_comment</code> (a line of a pull request is commented on), <code>check_run</code> (a check of others fails on a pull request of ours), <code>delete</code> (a branch is deleted).</p>
    <p class="soft">Not asked for: workflows, administration, secrets. GitHub itself then refuses any change of your workflows.</p>
    <h2>What happens next</h2>
    <ol>
    <li>GitHub (github.com) shows the new App. Its name is unique there: change it if it is taken, then confirm.</li>
    <li>GitHub sends you back here. Mendwright fetches the App's key and secrets and stores them in <code>/var/lib/mendwright/github-app.json</code>, for its own account only (mode 0600).</li>
    <li>You choose the repositories. The service works at once, without a restart.</li>
    </ol>
    <div class="box">
    <form method="post" action="https://github.com/settings/apps/new?state=STATE">
    <input type="hidden" name="manifest" value="{&quot;name&quot;:&quot;mendwright&quot;,&quot;url&quot;:&quot;https://mend.example.org/&quot;,&quot;description&quot;:&quot;Turns a labelled issue into a draft pull request with evidence, or an honest escalation.&quot;,&quot;public&quot;:false,&quot;hook_attributes&quot;:{&quot;url&quot;:&quot;https://mend.example.org/webhooks/github&quot;,&quot;active&quot;:true},&quot;redirect_url&quot;:&quot;https://mend.example.org/setup/callback&quot;,&quot;default_permissions&quot;:{&quot;checks&quot;:&quot;write&quot;,&quot;contents&quot;:&quot;write&quot;,&quot;issues&quot;:&quot;write&quot;,&quot;metadata&quot;:&quot;read&quot;,&quot;pull_requests&quot;:&quot;write&quot;},&quot;default_events&quot;:[&quot;issues&quot;,&quot;issue_comment&quot;,&quot;pull_request&quot;,&quot;pull_request_review&quot;,&quot;pull_request_review_comment&quot;,&quot;check_run&quot;,&quot;delete&quot;]}">
    <p>The App will belong to your own account. GitHub will send events to <code>https://mend.example.org/webhooks/github</code>.</p>
    <p><button type="submit" id="register">Register on GitHub</button></p>
    </form>
    </div>
    <form method="get" action="/setup" class="row">
    <label for="organisation">For an organisation instead:</label>
    <input type="text" id="organisation" name="organisation" value="" maxlength="39" placeholder="its name on GitHub" autocomplete="off">
    <button type="submit" class="plain">Use it</button>
    </form>
    <p class="soft">If GitHub says that the configuration is invalid: the event address above must be one that GitHub can reach (<code>server.public_url</code>), and an organisation's Apps are registered by its owners.</p>
    </main>
    </body>
    </html>
    "#);
}
