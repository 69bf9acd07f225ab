//! The texts of the pages, and the permissions that they ask for.

use std::path::Path;

use super::manifest::{event_meaning, manifest_for, permission_reason};
use super::*;

fn install_config(public_url: Option<&str>, address: &str, github: &str) -> InstallConfig {
    InstallConfig {
        api_url: format!("{github}/api/v3").parse().unwrap(),
        web_url: github.parse().unwrap(),
        public_url: public_url.map(|url| url.parse().unwrap()),
        address: address.parse().unwrap(),
        data_dir: "/var/lib/mendwright".into(),
        label: "agent-fix".into(),
    }
}

#[test]
fn permission_and_event_each_have_an_explanation() {
    let manifest = manifest();
    for name in manifest.default_permissions.keys() {
        assert_ne!(permission_reason(name), "", "{name}");
    }
    for event in &manifest.default_events {
        assert_ne!(event_meaning(event), "", "{event}");
    }
}

#[test]
fn manifest_contains_the_services_addresses_and_the_organisations_name() {
    let manifest =
        manifest_for(&"https://m.example/x/".parse().unwrap(), Some("a-very-long-organisation-name"));
    assert_eq!(manifest.hook_attributes.url, "https://m.example/x/webhooks/github");
    assert_eq!(manifest.redirect_url, "https://m.example/x/setup/callback");
    assert_eq!(manifest.name, "mendwright-a-very-long-organisatio");
    assert!(!serde_json::to_string(&manifest).unwrap().contains("example.com"));
}

#[test]
fn page_is_exposed_if_a_stranger_can_reach_it() {
    let github = "https://github.com";
    assert!(!install_config(None, "127.0.0.1:8080", github).is_exposed());
    assert!(!install_config(Some("http://localhost:8080"), "127.0.0.1:8080", github).is_exposed());
    assert!(
        install_config(Some("https://m.example"), "127.0.0.1:8080", github).is_exposed(),
        "a proxy is in front of it"
    );
    assert!(install_config(None, "0.0.0.0:8080", github).is_exposed());
    assert_eq!(install_config(None, "127.0.0.1:8080", github).base(), None, "GitHub cannot reach it");
    let own = install_config(None, "0.0.0.0:8080", "http://127.0.0.1:99");
    assert_eq!(own.base().unwrap().as_str(), "http://127.0.0.1:8080/");
}

#[test]
fn first_page_explains_permissions_and_the_next_steps() {
    let base = "https://mend.example.org".parse().unwrap();
    let page = page::start(&page::Start {
        manifest: &manifest_for(&base, None),
        action: &"https://github.com/settings/apps/new?state=STATE".parse().unwrap(),
        web_url: &"https://github.com".parse().unwrap(),
        organisation: None,
        setup: "/setup",
        credentials: &CredentialSink::InDataDir.location(Path::new("/var/lib/mendwright")),
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
    <tr><td>checks</td><td>write</td><td>to show a check on its own branches</td></tr>
    <tr><td>contents</td><td>write</td><td>to fetch the code, and to push branches of its own (agent-fix/…)</td></tr>
    <tr><td>issues</td><td>write</td><td>to read the labelled issue, and to report on it</td></tr>
    <tr><td>metadata</td><td>read</td><td>to see the repository, and whether the person who added the label may ask for work</td></tr>
    <tr><td>pull requests</td><td>write</td><td>to open a draft pull request, and to keep it up to date</td></tr>
    </table>
    <p>It receives these events: <code>issues</code> (a label is added or removed; an issue is closed, deleted or transferred), <code>issue_comment</code> (somebody comments), <code>pull_request</code> (a pull request is closed), <code>pull_request_review</code> (a review is submitted), <code>pull_request_review_comment</code> (somebody comments on a line of a pull request), <code>check_run</code> (another App&#39;s check fails on one of its pull requests), <code>delete</code> (a branch is deleted).</p>
    <p class="soft">It does not ask for workflows, administration or secrets, so GitHub itself refuses any change of your workflows.</p>
    <h2>What happens next</h2>
    <ol>
    <li>GitHub (github.com) shows the new App. Its name must be unique: change it if it is taken, then confirm.</li>
    <li>GitHub sends you back here. Mendwright fetches the App's key and secrets and stores them in <code>/var/lib/mendwright/github-app.json</code>, readable by its own account only (mode 0600).</li>
    <li>You choose the repositories. The service starts to work without a restart.</li>
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
    <p class="soft">If GitHub says that the configuration is invalid: GitHub must be able to reach the event address above (<code>server.public_url</code>), and only owners register an organisation's Apps.</p>
    </main>
    </body>
    </html>
    "#);
}
