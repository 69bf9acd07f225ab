//! Credentials that the setup page stored, together with the operator's own.

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

fn directory_with_stored_app() -> ConfigDirectory {
    let directory = ConfigDirectory::new();
    std::fs::create_dir(directory.0.path().join("mendwright-data")).unwrap();
    directory.write("mendwright-data/github-app.json", &stored().to_json(), 0o600);
    directory
}

#[test]
fn no_credentials_mean_no_app_and_no_error() {
    assert!(ConfigDirectory::new().load(WITHOUT_APP).unwrap().github.app.is_none());
}

#[test]
fn stored_credentials_are_used_with_their_github() {
    let config = directory_with_stored_app().load(WITHOUT_APP).unwrap();
    assert_eq!(config.github.api_url.as_str(), "https://ghe.example/api/v3");
    assert_eq!(config.github.web_url.as_str(), "https://ghe.example/");
    let app = config.github.app.as_ref().unwrap();
    assert_eq!((app.id, app.private_key.expose_secret()), (777, KEY));
    assert_eq!(app.webhook_secret.expose_secret(), "a stored webhook secret");
    let shown = format!("{config:?} {:?}", stored());
    assert!(!shown.contains("a stored webhook") && !shown.contains("MIIabc"), "{shown}");
}

#[test]
fn operators_credentials_take_precedence_over_stored_ones() {
    let directory = directory_with_stored_app();
    let app = |config: ServerConfig| config.github.app.unwrap();
    let whole = directory.load(WHOLE).unwrap();
    assert_eq!(whole.github.api_url.as_str(), "https://api.github.com/");
    let whole = app(whole);
    assert_eq!((whole.id, whole.webhook_secret.expose_secret()), (12345, "0123456789abcdef"));
    let rotated = [("MENDWRIGHT_GITHUB_WEBHOOK_SECRET", "a newer webhook secret")];
    let rotated = app(directory.load_with(WITHOUT_APP, &rotated).unwrap());
    assert_eq!((rotated.id, rotated.webhook_secret.expose_secret()), (777, "a newer webhook secret"));
}

#[test]
fn stored_key_of_another_app_or_github_is_not_used() {
    let directory = directory_with_stored_app();
    insta::assert_snapshot!(directory.error_with(WITHOUT_APP, &[("MENDWRIGHT_GITHUB_APP_ID", "5")]), @"DIR/mendwright.toml: github.private_key_file is missing; write the path of the .pem file that GitHub let you download (or set MENDWRIGHT_GITHUB_PRIVATE_KEY_FILE)");
    insta::assert_snapshot!(directory.error_with(WITHOUT_APP, &[("MENDWRIGHT_GITHUB_API_URL", "https://api.github.com")]), @"DIR/mendwright-data/github-app.json is from https://ghe.example/api/v3, and github.api_url is https://api.github.com/; set github.api_url to the former; or move the file away and register the App again");
}

#[test]
fn stored_credentials_that_are_public_or_damaged_are_refused() {
    let directory = directory_with_stored_app();
    directory.write("mendwright-data/github-app.json", &stored().to_json(), 0o640);
    insta::assert_snapshot!(directory.error_with(WITHOUT_APP, &[]), @"DIR/mendwright-data/github-app.json holds the App's key, and other accounts can read it (mode 640); run: chmod 600 DIR/mendwright-data/github-app.json");
    let cut: String = stored().to_json().chars().take(300).collect();
    directory.write("mendwright-data/github-app.json", &cut, 0o600);
    insta::assert_snapshot!(directory.error_with(WITHOUT_APP, &[]), @"DIR/mendwright-data/github-app.json is not what the setup page wrote: line 10 column 56; restore it from a backup; or remove it, make a new key and a new webhook secret on the App's settings page, and configure them");
}

#[test]
fn printed_credentials_can_be_read_back() {
    let text = stored().to_environment();
    let variables: Vec<(&str, &str)> = text.lines().map(|line| line.split_once('=').unwrap()).collect();
    let config = ConfigDirectory::new().load_with(WITHOUT_APP, &variables).unwrap();
    let app = config.github.app.unwrap();
    assert_eq!((app.id, app.private_key.expose_secret()), (777, KEY.trim_end()));
    assert_eq!(app.webhook_secret.expose_secret(), "a stored webhook secret");
    assert_eq!(config.github.api_url.as_str(), "https://ghe.example/api/v3");
}
