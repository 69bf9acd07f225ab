//! What the set-up page stored, beside what the operator says.

use crate::config::StoredApp;

use super::*;

const WITHOUT_APP: &str = "[model]\nprovider = 'anthropic'\nname = 'a-model'\napi_key_file = 'key'\n";

fn stored() -> StoredApp {
    StoredApp {
        app_id: 777,
        slug: "mend".into(),
        name: "mend".into(),
        html_url: "https://ghe.example/apps/mend".into(),
        owner: "octo".into(),
        client_id: "Iv23".into(),
        client_secret: "a client secret of some length".into(),
        webhook_secret: "a stored webhook secret".into(),
        private_key: KEY.into(),
        api_url: "https://ghe.example/api/v3".parse().unwrap(),
        web_url: "https://ghe.example/".parse().unwrap(),
        registered_at: "2026-11-25T12:00:00Z".parse().unwrap(),
    }
}

fn place_with_stored() -> Place {
    let place = Place::new();
    std::fs::create_dir(place.0.path().join("mendwright-data")).unwrap();
    place.write("mendwright-data/github-app.json", &stored().to_json(), 0o600);
    place
}

#[test]
fn without_any_credentials_there_is_no_app_and_no_error() {
    assert!(Place::new().load(WITHOUT_APP).unwrap().github.app.is_none());
}

#[test]
fn what_was_stored_is_used_with_the_github_that_it_is_from() {
    let config = place_with_stored().load(WITHOUT_APP).unwrap();
    assert_eq!(config.github.api_url.as_str(), "https://ghe.example/api/v3");
    assert_eq!(config.github.web_url.as_str(), "https://ghe.example/");
    let app = config.github.app.as_ref().unwrap();
    assert_eq!((app.id, app.private_key.expose_secret()), (777, KEY));
    assert_eq!(app.webhook_secret.expose_secret(), "a stored webhook secret");
    let shown = format!("{config:?} {:?}", stored());
    assert!(!shown.contains("a stored webhook") && !shown.contains("MIIabc"), "{shown}");
}

#[test]
fn what_the_operator_says_goes_before_what_was_stored() {
    let place = place_with_stored();
    let app = |config: ServerConfig| config.github.app.unwrap();
    let whole = place.load(WHOLE).unwrap();
    assert_eq!(whole.github.api_url.as_str(), "https://api.github.com/");
    let whole = app(whole);
    assert_eq!((whole.id, whole.webhook_secret.expose_secret()), (12345, "0123456789abcdef"));
    let rotated = [("MENDWRIGHT_GITHUB_WEBHOOK_SECRET", "a newer webhook secret")];
    let rotated = app(place.load_with(WITHOUT_APP, &rotated).unwrap());
    assert_eq!((rotated.id, rotated.webhook_secret.expose_secret()), (777, "a newer webhook secret"));
}

#[test]
fn the_key_of_another_app_or_another_github_is_not_taken() {
    let place = place_with_stored();
    insta::assert_snapshot!(place.told_with(WITHOUT_APP, &[("MENDWRIGHT_GITHUB_APP_ID", "5")]), @"DIR/mendwright.toml: github.private_key_file is missing; write the path of the .pem file that GitHub let you download (or set MENDWRIGHT_GITHUB_PRIVATE_KEY_FILE)");
    insta::assert_snapshot!(place.told_with(WITHOUT_APP, &[("MENDWRIGHT_GITHUB_API_URL", "https://api.github.com")]), @"DIR/mendwright-data/github-app.json is from https://ghe.example/api/v3, and github.api_url is https://api.github.com/; set github.api_url to the former; or move the file away to register the App anew");
}

#[test]
fn stored_credentials_that_others_can_read_or_that_are_damaged_are_refused() {
    let place = place_with_stored();
    place.write("mendwright-data/github-app.json", &stored().to_json(), 0o640);
    insta::assert_snapshot!(place.told_with(WITHOUT_APP, &[]), @"DIR/mendwright-data/github-app.json holds the App's key and other accounts may use it (mode 640); run: chmod 600 DIR/mendwright-data/github-app.json");
    let cut: String = stored().to_json().chars().take(300).collect();
    place.write("mendwright-data/github-app.json", &cut, 0o600);
    insta::assert_snapshot!(place.told_with(WITHOUT_APP, &[]), @"DIR/mendwright-data/github-app.json is not what the set-up page wrote: line 10 column 56; restore it from a backup; or remove it, make a new key and a new webhook secret on the App's settings page, and configure them");
}

#[test]
fn what_is_printed_for_a_secret_manager_is_what_the_service_reads() {
    let text = stored().to_environment();
    let variables: Vec<(&str, &str)> = text.lines().map(|line| line.split_once('=').unwrap()).collect();
    let config = Place::new().load_with(WITHOUT_APP, &variables).unwrap();
    let app = config.github.app.unwrap();
    assert_eq!((app.id, app.private_key.expose_secret()), (777, KEY.trim_end()));
    assert_eq!(app.webhook_secret.expose_secret(), "a stored webhook secret");
    assert_eq!(config.github.api_url.as_str(), "https://ghe.example/api/v3");
}
