//! Chromium, driven through ChromeDriver with the few WebDriver commands that the stories need.
//! Source: w3.org/TR/webdriver2.

use std::process::Stdio;

use base64::Engine;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{WAIT_MAX, eventually};

/// How WebDriver names an element in its answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub struct Chromium {
    _driver: Child,
    client: reqwest::Client,
    session: String,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// A window of 1000 by 1400 pixels.
    pub async fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("install chromium and chromium-driver (Debian's packages)");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = tokio::time::timeout(WAIT_MAX, lines.next_line()).await.unwrap().unwrap().unwrap();
            if let Some((_, rest)) = line.split_once("successfully on port ") {
                break rest.trim_end_matches('.').to_owned();
            }
        };
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let profile = tempfile::tempdir().unwrap();
        let arguments = json!([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1000,1400",
            "--no-proxy-server",
            format!("--user-data-dir={}", profile.path().display()),
        ]);
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            // A page's address changes before its elements are there.
            "timeouts": {"implicit": 120_000},
            "goog:chromeOptions": {"args": arguments, "binary": "/usr/bin/chromium"},
        }}});
        let root = format!("http://127.0.0.1:{port}/session");
        let answer = client.post(&root).body(wanted.to_string()).send().await.unwrap();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let id = answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("{answer}"));
        Self { _driver: driver, client, session: format!("{root}/{id}"), _profile: profile }
    }

    async fn ask(&self, command: &str, body: Option<Value>) -> Value {
        let url = format!("{}/{command}", self.session);
        let request = match body {
            Some(body) => self.client.post(url).body(body.to_string()),
            None => self.client.get(url),
        };
        let answer = request.send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["value"].get("error").is_none(), "{command}: {:#}", answer["value"]);
        answer["value"].clone()
    }

    pub async fn open(&self, url: &str) {
        self.ask("url", Some(json!({ "url": url }))).await;
    }

    pub async fn address(&self) -> String {
        self.ask("url", None).await.as_str().unwrap().to_owned()
    }

    async fn element(&self, selector: &str) -> String {
        let found = self.ask("element", Some(json!({"using": "css selector", "value": selector}))).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    pub async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.ask(&format!("element/{element}/click"), Some(json!({}))).await;
    }

    pub async fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.ask(&format!("element/{element}/clear"), Some(json!({}))).await;
        self.ask(&format!("element/{element}/value"), Some(json!({ "text": text }))).await;
    }

    pub async fn text(&self, selector: &str) -> String {
        let element = self.element(selector).await;
        self.ask(&format!("element/{element}/text"), None).await.as_str().unwrap().to_owned()
    }

    /// The computed style, which shows whether the style sheet was loaded.
    pub async fn style(&self, selector: &str, property: &str) -> String {
        let element = self.element(selector).await;
        self.ask(&format!("element/{element}/css/{property}"), None).await.as_str().unwrap().to_owned()
    }

    /// Waits until the address contains `part`.
    pub async fn until_at(&self, part: &str) {
        let is_there = async || self.address().await.contains(part);
        let state = async || format!("at {}: {}", self.address().await, self.text("body").await);
        eventually(&format!("the browser is at {part}"), is_there, state).await;
    }

    /// A screenshot of the window, saved in the directory of `MENDWRIGHT_TEST_SCREENSHOTS`, if it is set.
    pub async fn picture(&self, name: &str) {
        let picture = self.ask("screenshot", None).await;
        let bytes = base64::engine::general_purpose::STANDARD.decode(picture.as_str().unwrap()).unwrap();
        assert!(bytes.len() > 5_000, "the window is empty");
        if let Ok(directory) = std::env::var("MENDWRIGHT_TEST_SCREENSHOTS") {
            std::fs::write(std::path::Path::new(&directory).join(format!("{name}.png")), bytes).unwrap();
        }
    }

    pub async fn close(self) {
        self.client.delete(&self.session).send().await.unwrap();
    }
}
