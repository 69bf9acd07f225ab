//! The data of a new emulator: the App registered and installed, and the demo accounts.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::account::{AccountKind, DEMO_ACCOUNTS, Role};
use super::app::AppRegistration;
use super::database::{Database, RateLimit, Urls};
use super::random::{initial_key, random_text};
use crate::github::error::EmulatorError;
use crate::github::options::EmulatorOptions;

/// The account that acts if no other is named.
pub(crate) const DEFAULT_ACTOR: &str = "octo-maintainer";
/// Requests an hour: the least that GitHub grants an installation.
const RATE_LIMIT_MAX: u64 = 5_000;
/// Ids start here, so that they cannot be confused with issue numbers.
const FIRST_ID: u64 = 1_000_000;
/// The name of the App; its slug is the same.
const APP_SLUG: &str = "mendwright-demo";

/// The least permissions that an issue-to-draft-pull-request bot works with.
const DEFAULT_PERMISSIONS: [(&str, &str); 5] = [
    ("checks", "write"),
    ("contents", "write"),
    ("issues", "write"),
    ("metadata", "read"),
    ("pull_requests", "write"),
];

/// The manifest of the App that is emulated.
const APP_MANIFEST: &str = include_str!("../../../../app-manifest.yml");

/// The events that the App subscribes to: those of its manifest, and one that it has to ignore.
fn default_events() -> Vec<String> {
    let listed = APP_MANIFEST.lines().skip_while(|line| *line != "default_events:").skip(1);
    let events = listed.filter_map(|line| line.trim_start().strip_prefix("- "));
    let names = events.map(|event| event.split('#').next().unwrap_or(event).trim().to_owned());
    names.chain(std::iter::once("push".to_owned())).collect()
}

/// Registers the App, with new secrets.
pub(crate) fn initial_database(
    urls: Urls,
    options: &EmulatorOptions,
    outbox: mpsc::Sender<u64>,
    now: Timestamp,
) -> Result<Database, EmulatorError> {
    let (private_key_pem, public_key) = initial_key()?;
    let granted = match options.permissions.is_empty() {
        true => DEFAULT_PERMISSIONS.map(|(name, level)| (name.to_owned(), level.to_owned())).into(),
        false => options.permissions.clone(),
    };
    let app = AppRegistration {
        id: FIRST_ID + 1,
        slug: APP_SLUG.to_owned(),
        client_id: format!("Iv23li{}", random_text(14)?),
        name: APP_SLUG.to_owned(),
        description: "Mendwright against an emulated GitHub".to_owned(),
        public_key,
        private_key_pem,
        manifest_codes: Vec::new(),
        webhook_secret: random_text(40)?.into(),
        webhook_url: options.webhook_url.clone(),
        hook_id: FIRST_ID + 2,
        installation: FIRST_ID + 3,
        suspended_at: None,
        owner: DEFAULT_ACTOR.to_owned(),
        permissions: granted.clone(),
        granted,
        installed: true,
        events: default_events(),
        created_at: now,
    };
    let mut db = Database {
        urls,
        app,
        accounts: BTreeMap::new(),
        repositories: Vec::new(),
        tokens: BTreeMap::new(),
        deliveries: VecDeque::new(),
        deliveries_to_hold: 0,
        held_deliveries: Vec::new(),
        deliveries_to_duplicate: 0,
        deliveries_to_reorder: 0,
        reordered_deliveries: Vec::new(),
        calls: BTreeMap::new(),
        faults: Vec::new(),
        rate_limit: RateLimit::new(RATE_LIMIT_MAX, now),
        outbox,
        last_id: FIRST_ID + 10,
    };
    let bot = db.app.bot_login();
    // The App's own account writes, but is no collaborator: GitHub answers `none` for it.
    for (login, kind, role) in DEMO_ACCOUNTS.into_iter().chain([(bot.as_str(), AccountKind::Bot, Role::None)])
    {
        let account = db.ensure_account(login);
        (account.kind, account.role) = (kind, role);
    }
    Ok(db)
}
