//! The manifest flow over plain HTTP, as a browser goes through it, and everything that can go wrong.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use mendwright_emulator::github::{FaultKind, FaultRule};
use regex::Regex;
use reqwest::{Client, Response};
use url::Url;

use crate::support::{World, eventually};

/// A browser, as far as the flow needs one: a cookie, and forms.
pub(super) struct Browser {
    client: Client,
    cookie: Option<String>,
}

/// A page, or a redirect to one.
pub(super) struct PageResponse {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    html: String,
    headers: BTreeMap<String, String>,
}

impl PageResponse {
    async fn read(response: Response) -> Self {
        let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
        let headers: BTreeMap<String, String> =
            response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Self {
            status: response.status().as_u16(),
            location: headers.get("location").cloned(),
            headers,
            html: response.text().await.unwrap(),
        }
    }
    /// The visible text, in one line.
    fn words(&self) -> String {
        let inside = self.html.split_once("<main>").map_or(self.html.as_str(), |(_, main)| main);
        let words = Regex::new("<[^>]*>").unwrap().replace_all(inside, " ").into_owned();
        let words = words.replace("&#39;", "'").replace("&quot;", "\"").replace("&amp;", "&");
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }
    pub(super) fn attribute(&self, before: &str) -> String {
        let at = self.html.find(before).unwrap_or_else(|| panic!("no {before} in {}", self.html));
        let value = &self.html[at + before.len()..];
        value[..value.find('"').unwrap()].replace("&quot;", "\"").replace("&amp;", "&")
    }
}

impl Browser {
    pub(super) fn new() -> Self {
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { client: client.build().unwrap(), cookie: None }
    }
    pub(super) async fn get(&mut self, url: &str) -> PageResponse {
        self.get_with(url, &[]).await
    }
    async fn get_with(&mut self, url: &str, headers: &[(&str, &str)]) -> PageResponse {
        let mut request = self.client.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let seen = PageResponse::read(request.send().await.unwrap()).await;
        if let Some(cookie) = seen.headers.get("set-cookie") {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        seen
    }
    pub(super) async fn post(&self, url: &str, form: &[(&str, &str)]) -> PageResponse {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request =
            self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
        PageResponse::read(request.send().await.unwrap()).await
    }

    /// Presses the button, confirms on GitHub, and returns the address that GitHub sends the browser to.
    pub(super) async fn register(&mut self, page: &str) -> String {
        let shown = self.get(page).await;
        assert_eq!(shown.status, 200, "{}", shown.words());
        let action = shown.attribute("<form method=\"post\" action=\"");
        let manifest = shown.attribute("name=\"manifest\" value=\"");
        let github = self.post(&action, &[("manifest", &manifest)]).await;
        assert_eq!(github.status, 200, "{}", github.words());
        let create = Url::parse(&action).unwrap().join(&github.attribute("<form method=\"post\" action=\""));
        let state = github.attribute("name=\"state\" value=\"");
        // Names are unique.
        let name = if page.contains('?') { "Theirs" } else { "Our Mendwright" };
        let form = [("manifest", manifest.as_str()), ("state", &state), ("name", name)];
        let sent = self.post(create.unwrap().as_str(), &form).await;
        assert_eq!(sent.status, 302, "{}", sent.words());
        sent.location.unwrap()
    }
}

fn data(world: &World, name: &str) -> std::path::PathBuf {
    world.directory.path().join("data").join(name)
}

fn conversions(world: &World) -> u64 {
    world.github.state()["calls"]["apps/create-from-manifest"].as_u64().unwrap_or(0)
}

fn fault(kind: FaultKind, times: u32) -> FaultRule {
    FaultRule { method: None, path: "^/app-manifests/".into(), times, kind }
}

#[tokio::test]
async fn registered_service_works_without_and_after_a_restart() {
    let mut world = World::new().await;
    let page = world.start_service_without_app(&[], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    let back = browser.get(&callback).await;
    assert_eq!((back.status, back.location.as_deref()), (303, Some("/setup/done")), "{}", back.words());
    let done = browser.get(&page.replace("/setup", "/setup/done")).await;
    let text = done.words().replace(world.directory.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(text, @"Mendwright is registered The App Our Mendwright of octo-maintainer is registered, and the service works with it. Its key and secrets are in DIR/data/github-app.json . Back that file up: GitHub shows them only once. Last step: choose the repositories that it may work on. Install it on repositories Then put the label agent-fix on an issue. mendwright doctor checks that everything works.");
    let again = browser.get(&page).await;
    assert_eq!(again.location.as_deref(), Some("/setup/done"));

    let stored = data(&world, "github-app.json");
    assert_eq!(stored.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!data(&world, "github-app.json.new").exists());
    let text = std::fs::read_to_string(&stored).unwrap();
    let secret = text.lines().find(|line| line.contains("webhook_secret")).unwrap();
    let secret = secret.split('"').nth(3).unwrap();
    assert!(secret.len() > 20 && !world.log().contains(secret));

    let install = done.attribute("id=\"install\" href=\"");
    assert_eq!(browser.post(&install, &[]).await.status, 200);
    world.label("octo-maintainer").await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    world.jobs_ended(1).await;
    assert_eq!(world.stop_service().await, Some(0), "{}", world.log());

    // The next start finds the credentials, and serves no setup page.
    let address = world.restart_service().await;
    assert_eq!(browser.get(&format!("{address}/setup")).await.status, 404);
    world.end().await;
}

#[tokio::test]
async fn callback_with_a_foreign_state_or_browser_is_refused() {
    let mut world = World::new().await;
    let page = world.start_service_without_app(&[], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    let mut pages = Vec::new();
    for (who, url) in [
        ("another state", callback.replace("state=", "state=x")),
        ("no state", callback.split("&state").next().unwrap().to_owned()),
    ] {
        let seen = browser.get(&url).await;
        assert_eq!(seen.status, 400, "{who}");
        pages.push(seen.words());
    }
    assert_eq!(pages[0], pages[1]);
    let stranger = Browser::new().get(&callback).await;
    assert_eq!((stranger.status, stranger.words()), (400, pages.remove(0)), "another browser");
    assert_eq!(conversions(&world), 0);
    insta::assert_snapshot!(pages[0].replace(world.github.url().as_str(), "GITHUB/"), @"This is not the expected answer The one-time state that was given to GitHub did not come back from the browser that it was given to: it was used already, is older than an hour, or the service was restarted in the meantime. Nothing was fetched and nothing was changed. If you registered an App just now, delete it at GITHUB/settings/apps (an organisation's App: in the organisation's settings). Start over");

    assert_eq!(browser.get(&callback).await.status, 303, "the right state still works");
    assert_eq!(conversions(&world), 1);
    world.end().await;
}

#[tokio::test]
async fn missing_code_and_expired_code_have_their_own_pages() {
    let mut world = World::new().await;
    let page = world.start_service_without_app(&[], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    let state = callback.split("&state=").nth(1).unwrap().to_owned();
    let callback_page = page.replace("/setup", "/setup/callback");
    let none = browser.get(&format!("{callback_page}?state={state}")).await;
    insta::assert_snapshot!(none.words(), @"GitHub sent no code GitHub sent you back without a code: the registration was not confirmed there. Nothing was registered. Start over");
    let callback = browser.register(&page.replace("setup", "setup?organisation=octo-maintainer")).await;
    let state = callback.split("&state=").nth(1).unwrap().to_owned();
    let old = browser.get(&format!("{callback_page}?code=used-before&state={state}")).await;
    insta::assert_snapshot!(old.words().replace(world.github.url().as_str(), "GITHUB/"), @"GitHub's code is no longer valid GitHub does not know the code that it sent you back with. A code works once, and for an hour. The App was registered, but nobody has its key. Delete the App at GITHUB/settings/apps (an organisation's App: in the organisation's settings). Start over");
    assert!(!data(&world, "github-app.json.new").exists(), "the reservation remains");
    world.end().await;
}

#[tokio::test]
async fn unavailable_github_allows_a_reload_of_the_page() {
    let mut world = World::new().await;
    let page = world.start_service_without_app(&[], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    let down = FaultKind::Status { status: 502, headers: Vec::new(), message: None };
    world.github.inject_fault(fault(down, 1)).unwrap();
    let seen = browser.get(&callback).await;
    assert_eq!(seen.status, 400);
    insta::assert_snapshot!(seen.words(), @"GitHub does not answer The App's credentials could not be fetched: status 502 Bad Gateway. Wait a moment, and check that this machine can reach GitHub. Nothing is lost: then load this page again, within the hour that GitHub gives.");
    assert_eq!(browser.get(&callback).await.status, 303);
    world.end().await;
}

#[tokio::test]
async fn full_disk_is_detected_before_the_code_is_used() {
    let mut world = World::new().await;
    let page = world.start_service_without_app(&[], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    let room = data(&world, "github-app.json.new");
    std::os::unix::fs::symlink("/dev/full", &room).unwrap();
    let seen = browser.get(&callback).await;
    let text = |seen: &PageResponse| seen.words().replace(world.directory.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(text(&seen), @"The credentials cannot be stored DIR/data/github-app.json could not be written: No space left on device (os error 28). Free some space on the disk of DIR/data. Nothing is lost: then load this page again, within the hour that GitHub gives.");
    assert_eq!(conversions(&world), 0, "the code was used");
    std::fs::remove_file(&room).unwrap();
    assert_eq!(browser.get(&callback).await.status, 303);
    world.end().await;
}

#[tokio::test]
async fn credentials_that_cannot_be_stored_are_kept_in_memory() {
    let mut world = World::new().await;
    let page = world.start_service_without_app(&[], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    std::fs::create_dir_all(data(&world, "github-app.json/in-the-way")).unwrap();
    let seen = browser.get(&callback).await;
    let text = |seen: &PageResponse| seen.words().replace(world.directory.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(text(&seen), @"The credentials cannot be stored DIR/data/github-app.json could not be written after GitHub handed out the credentials; they are kept in memory: Is a directory (os error 21). Check that the service's account can write to DIR/data. Nothing is lost: then load this page again, within the hour that GitHub gives.");
    std::fs::remove_dir_all(data(&world, "github-app.json")).unwrap();
    assert_eq!(browser.get(&callback).await.status, 303);
    assert_eq!(conversions(&world), 1);
    world.end().await;
}

#[tokio::test]
async fn service_that_died_before_it_stored_the_key_shows_a_warning() {
    let mut world = World::new().await;
    let page = world.start_service_without_app(&[], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    world.github.inject_fault(fault(FaultKind::Delay { seconds: 30.0 }, 1)).unwrap();
    let room = data(&world, "github-app.json.new");
    let wait = eventually("the marker of the request", async || room.exists(), async || world.log());
    tokio::select! { _ = browser.get(&callback) => panic!("GitHub answered"), () = wait => {} }
    world.kill_service().await;
    let page = world.start_service_without_app(&[], &[]).await;
    let words = Browser::new().get(&page).await.words();
    let text = words.split("What it asks GitHub for").next().unwrap();
    insta::assert_snapshot!(text.replace(world.github.url().as_str(), "GITHUB/"), @"Register Mendwright with GitHub Mendwright works as a GitHub App of your own. This page registers it: one button here, one confirmation on GitHub. An earlier registration was interrupted The service ended after it had asked GitHub for an App's key and before it stored the key. GitHub shows a key only once, so an App may exist whose key nobody has. Delete it at GITHUB/settings/apps , then register it again below.");
    assert!(world.log().contains("was interrupted"), "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn exposed_page_opens_only_with_the_token() {
    let mut world = World::new().await;
    let outside = "https://mend.example.org/below";
    let environment = [("MENDWRIGHT_SERVER_PUBLIC_URL", outside)];
    let setup_url = world.start_service_without_app(&[], &environment).await;
    let token = setup_url.strip_prefix(&format!("{outside}/setup?token=")).unwrap().to_owned();
    let local = world.log().rsplit("\"address\":\"").next().unwrap().split('"').next().unwrap().to_owned();
    let page = format!("http://{local}/setup");
    let seen = Browser::new().get(&page).await;
    assert_eq!(seen.status, 403);
    insta::assert_snapshot!(seen.words(), @"This page is for the operator Whoever registers the App controls this service. Open it with the link that the service printed when it started: look for “/setup?token=” in its log.");
    assert_eq!(Browser::new().get(&format!("{page}?token=guessed")).await.status, 403);
    assert_eq!(Browser::new().get(&format!("{page}/done")).await.status, 403);
    let mut operator = Browser::new();
    let opened = operator.get(&format!("{page}?token={token}")).await;
    assert_eq!((opened.status, opened.location.as_deref()), (303, Some("/below/setup")));
    let cookie = &opened.headers["set-cookie"];
    assert!(cookie.contains("HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    assert_eq!(Browser::new().get(&format!("{page}?token={token}")).await.status, 403, "it works once");

    let shown = operator.get(&page).await;
    assert_eq!(shown.status, 200);
    let manifest: serde_json::Value =
        serde_json::from_str(&shown.attribute("name=\"manifest\" value=\"")).unwrap();
    assert_eq!(manifest["hook_attributes"]["url"], format!("{outside}/webhooks/github"));
    assert_eq!(manifest["redirect_url"], format!("{outside}/setup/callback"));
    let policy = &shown.headers["content-security-policy"];
    assert!(policy.starts_with("default-src 'none'; style-src 'self'; form-action 'self' http://127.0.0.1:"));
    assert_eq!(shown.headers["cache-control"], "no-store");
    world.end().await;
}

#[tokio::test]
async fn local_page_refuses_a_foreign_host_name_and_a_proxy() {
    let mut world = World::new().await;
    let page = world.start_service_without_app(&[], &[]).await;
    let seen = Browser::new().get_with(&page, &[("host", "rebound.example:80")]).await;
    assert_eq!(seen.status, 403);
    insta::assert_snapshot!(seen.words(), @"This page is for the operator Whoever registers the App controls this service. Open it in a browser on the machine itself, at its loopback address. To open it from elsewhere, set server.public_url and restart the service, which then prints a link.");
    assert_eq!(Browser::new().get_with(&page, &[("x-forwarded-for", "203.0.113.5")]).await.status, 403);
    // Without an App, no delivery is accepted.
    let hook = page.replace("/setup", "/webhooks/github");
    assert_eq!(Browser::new().post(&hook, &[]).await.status, 503);
    world.end().await;
}

#[tokio::test]
async fn credentials_for_a_secret_manager_are_printed_and_not_stored() {
    let mut world = World::new().await;
    let page = world.start_service_without_app(&["--print-credentials"], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    assert_eq!(browser.get(&callback).await.status, 303);
    let mut printed = Vec::new();
    while printed.len() < 5 {
        printed.push(world.next_line().await);
    }
    let names: Vec<&str> = printed.iter().map(|line| line.split('=').next().unwrap()).collect();
    insta::assert_snapshot!(names.join("\n"), @r"
    MENDWRIGHT_GITHUB_API_URL
    MENDWRIGHT_GITHUB_WEB_URL
    MENDWRIGHT_GITHUB_APP_ID
    MENDWRIGHT_GITHUB_PRIVATE_KEY
    MENDWRIGHT_GITHUB_WEBHOOK_SECRET
    ");
    assert!(!data(&world, "github-app.json").exists() && !data(&world, "github-app.json.new").exists());
    world.end().await;
}
