//! The manifest flow over plain HTTP, as a browser goes through it, and its ways to fail.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use mendwright_emulator::github::{FaultKind, FaultRule};
use regex::Regex;
use reqwest::{Client, Response};
use url::Url;

use crate::support::World;

/// Somebody's browser, as far as the flow needs one: a cookie, and forms.
pub(super) struct Browser {
    client: Client,
    cookie: Option<String>,
}

/// A page, or the way to one.
pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    html: String,
    headers: BTreeMap<String, String>,
}

impl Seen {
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
    /// The words that a person sees, in one line.
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
    pub(super) async fn get(&mut self, url: &str) -> Seen {
        self.get_with(url, &[]).await
    }
    async fn get_with(&mut self, url: &str, headers: &[(&str, &str)]) -> Seen {
        let mut request = self.client.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let seen = Seen::read(request.send().await.unwrap()).await;
        if let Some(cookie) = seen.headers.get("set-cookie") {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        seen
    }
    pub(super) async fn post(&self, url: &str, form: &[(&str, &str)]) -> Seen {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request =
            self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
        Seen::read(request.send().await.unwrap()).await
    }

    /// Presses the button, confirms on GitHub, and answers with where GitHub sends the browser.
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
async fn a_service_that_is_registered_works_at_once_and_after_a_restart() {
    let mut world = World::of("fix", None).await;
    let page = world.start_service_without_app(&[], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    let back = browser.get(&callback).await;
    assert_eq!((back.status, back.location.as_deref()), (303, Some("/setup/done")), "{}", back.words());
    let done = browser.get(&page.replace("/setup", "/setup/done")).await;
    let told = done.words().replace(world.directory.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(told, @"Mendwright is registered The App Our Mendwright of octo-maintainer is registered, and the service is working with it. Its key and secrets are in DIR/data/github-app.json . Back that file up: GitHub shows them only once. Last step: choose the repositories that it may work on. Install it on repositories Then put the label agent-fix on an issue. mendwright doctor says whether everything works.");
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
    world.until("the job's end", |world| world.log().contains("job ended")).await;
    assert_eq!(world.stop_service().await, Some(0), "{}", world.log());

    // The next start finds everything, and has no page to register with.
    let address = world.restart_service().await;
    assert_eq!(browser.get(&format!("{address}/setup")).await.status, 404);
    world.end().await;
}

#[tokio::test]
async fn what_comes_back_from_somewhere_else_is_not_believed() {
    let mut world = World::of("fix", None).await;
    let page = world.start_service_without_app(&[], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    let mut told = Vec::new();
    for (who, url) in [
        ("another state", callback.replace("state=", "state=x")),
        ("no state", callback.split("&state").next().unwrap().to_owned()),
    ] {
        let seen = browser.get(&url).await;
        assert_eq!(seen.status, 400, "{who}");
        told.push(seen.words());
    }
    assert_eq!(told[0], told[1]);
    let stranger = Browser::new().get(&callback).await;
    assert_eq!((stranger.status, stranger.words()), (400, told.remove(0)), "another browser");
    assert_eq!(conversions(&world), 0);
    insta::assert_snapshot!(told[0].replace(world.github.url().as_str(), "GITHUB/"), @"This is not the answer that was waited for The one-time state that GitHub was given did not come back from the browser that it was given to: it was used already, is older than an hour, or the service was restarted meanwhile. Nothing was fetched and nothing was changed here. If you did register an App just now, delete it at GITHUB/settings/apps (an organisation's: in its own settings). Begin anew");

    assert_eq!(browser.get(&callback).await.status, 303, "the right one still counts");
    assert_eq!(conversions(&world), 1);
    world.end().await;
}

#[tokio::test]
async fn a_registration_that_was_not_confirmed_and_a_code_that_is_too_old_are_told_apart() {
    let mut world = World::of("fix", None).await;
    let page = world.start_service_without_app(&[], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    let state = callback.split("&state=").nth(1).unwrap().to_owned();
    let callback_page = page.replace("/setup", "/setup/callback");
    let none = browser.get(&format!("{callback_page}?state={state}")).await;
    insta::assert_snapshot!(none.words(), @"GitHub sent no code GitHub sent you back without a code: the registration was not confirmed there. Nothing was registered. Begin anew");
    let callback = browser.register(&page.replace("setup", "setup?organisation=octo-maintainer")).await;
    let state = callback.split("&state=").nth(1).unwrap().to_owned();
    let old = browser.get(&format!("{callback_page}?code=used-before&state={state}")).await;
    insta::assert_snapshot!(old.words().replace(world.github.url().as_str(), "GITHUB/"), @"GitHub's code is no longer valid GitHub does not know the code that it sent you back with. It works once, and for an hour. The App was registered, and nobody has its key. Delete the App at GITHUB/settings/apps (an organisation's: in its own settings). Begin anew");
    assert!(!data(&world, "github-app.json.new").exists(), "nothing is waited for any more");
    world.end().await;
}

#[tokio::test]
async fn when_github_does_not_answer_the_page_can_be_loaded_again() {
    let mut world = World::of("fix", None).await;
    let page = world.start_service_without_app(&[], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    let down = FaultKind::Status { status: 502, headers: Vec::new(), message: None };
    world.github.inject_fault(fault(down, 1)).unwrap();
    let seen = browser.get(&callback).await;
    assert_eq!(seen.status, 400);
    insta::assert_snapshot!(seen.words(), @"GitHub does not answer The App's credentials could not be fetched: status 502 Bad Gateway. Wait a moment, and see that this machine can reach GitHub. Nothing is lost: when that is done, load this page again (within the hour that GitHub gives).");
    assert_eq!(browser.get(&callback).await.status, 303);
    world.end().await;
}

#[tokio::test]
async fn a_full_disk_is_found_before_the_code_is_spent() {
    let mut world = World::of("fix", None).await;
    let page = world.start_service_without_app(&[], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    let room = data(&world, "github-app.json.new");
    std::os::unix::fs::symlink("/dev/full", &room).unwrap();
    let seen = browser.get(&callback).await;
    let told = |seen: &Seen| seen.words().replace(world.directory.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(told(&seen), @"The credentials cannot be stored DIR/data/github-app.json could not be written: No space left on device (os error 28). Free some space on the disk that DIR/data is on. Nothing is lost: when that is done, load this page again (within the hour that GitHub gives).");
    assert_eq!(conversions(&world), 0, "the code was spent");
    std::fs::remove_file(&room).unwrap();
    assert_eq!(browser.get(&callback).await.status, 303);
    world.end().await;
}

#[tokio::test]
async fn credentials_that_cannot_be_stored_are_held_until_they_can() {
    let mut world = World::of("fix", None).await;
    let page = world.start_service_without_app(&[], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    std::fs::create_dir_all(data(&world, "github-app.json/in-the-way")).unwrap();
    let seen = browser.get(&callback).await;
    let told = |seen: &Seen| seen.words().replace(world.directory.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(told(&seen), @"The credentials cannot be stored DIR/data/github-app.json could not be written, after GitHub had handed the credentials out; they are held in memory: Is a directory (os error 21). See that the service's account can write to DIR/data. Nothing is lost: when that is done, load this page again (within the hour that GitHub gives).");
    std::fs::remove_dir_all(data(&world, "github-app.json")).unwrap();
    assert_eq!(browser.get(&callback).await.status, 303);
    assert_eq!(conversions(&world), 1);
    world.end().await;
}

#[tokio::test]
async fn a_service_that_died_before_it_stored_the_key_says_so() {
    let mut world = World::of("fix", None).await;
    let page = world.start_service_without_app(&[], &[]).await;
    let mut browser = Browser::new();
    let callback = browser.register(&page).await;
    world.github.inject_fault(fault(FaultKind::Delay { seconds: 30.0 }, 1)).unwrap();
    let room = data(&world, "github-app.json.new");
    let wait = async {
        while !room.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::select! { _ = browser.get(&callback) => panic!("GitHub answered"), () = wait => {} }
    world.kill_service().await;
    let page = world.start_service_without_app(&[], &[]).await;
    let words = Browser::new().get(&page).await.words();
    let told = words.split("What it asks GitHub for").next().unwrap();
    insta::assert_snapshot!(told.replace(world.github.url().as_str(), "GITHUB/"), @"Register Mendwright with GitHub Mendwright works as a GitHub App of your own. This page registers it: one button here, one confirmation on GitHub. An earlier registration was cut off The service ended after GitHub had been asked for an App's key and before it was stored. GitHub shows a key only once, so an App may exist that nobody has the key of. Delete it at GITHUB/settings/apps , then register it anew below.");
    assert!(world.log().contains("was cut off"), "{}", world.log());
    world.end().await;
}

#[tokio::test]
async fn a_stranger_cannot_register_the_app_first() {
    let mut world = World::of("fix", None).await;
    let outside = "https://mend.example.org/below";
    let environment = [("MENDWRIGHT_SERVER_PUBLIC_URL", outside)];
    let invitation = world.start_service_without_app(&[], &environment).await;
    let token = invitation.strip_prefix(&format!("{outside}/setup?token=")).unwrap().to_owned();
    let local = world.log().rsplit("\"address\":\"").next().unwrap().split('"').next().unwrap().to_owned();
    let page = format!("http://{local}/setup");
    let seen = Browser::new().get(&page).await;
    assert_eq!(seen.status, 403);
    insta::assert_snapshot!(seen.words(), @"This page is for the operator Whoever registers the App rules this service. It opens with the link that the service printed when it started: look for “/setup?token=” in its log.");
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
async fn on_ones_own_machine_a_name_that_is_pointed_at_it_or_a_proxy_is_refused() {
    let mut world = World::of("fix", None).await;
    let page = world.start_service_without_app(&[], &[]).await;
    let seen = Browser::new().get_with(&page, &[("host", "rebound.example:80")]).await;
    assert_eq!(seen.status, 403);
    insta::assert_snapshot!(seen.words(), @"This page is for the operator Whoever registers the App rules this service. It opens only in a browser on the machine itself, at its loopback address. To open it from elsewhere, set server.public_url and restart the service: it then prints a link.");
    assert_eq!(Browser::new().get_with(&page, &[("x-forwarded-for", "203.0.113.5")]).await.status, 403);
    // Until there is an App nobody can deliver anything.
    let hook = page.replace("/setup", "/webhooks/github");
    assert_eq!(Browser::new().post(&hook, &[]).await.status, 503);
    world.end().await;
}

#[tokio::test]
async fn credentials_for_a_secret_manager_are_printed_and_not_stored() {
    let mut world = World::of("fix", None).await;
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
