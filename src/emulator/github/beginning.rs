//! The world as it is when an emulator starts: the App registered and installed, the demo's people.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;

use super::credentials::{App, DEFAULT_EVENTS, DEFAULT_PERMISSIONS, generate_key, random_text};
use super::people::{DEMO_USERS, Role, User, UserKind};
use super::world::{RateLimit, Urls, World};
use super::{DEFAULT_ACTOR, EmulatorError, EmulatorOptions};

/// Requests an hour: GitHub's least for an installation.
const RATE_LIMIT_MAX: u64 = 5_000;
/// Ids begin here, so that they are never taken for issue numbers.
const FIRST_ID: u64 = 1_000_000;
/// The name of the App; its slug is the same.
const APP_SLUG: &str = "mendwright-demo";

/// The account of that login; one without rights is made where there is none.
pub(super) fn ensure_user<'a>(world: &'a mut World, login: &str) -> &'a mut User {
    let id = world.next_id();
    world.users.entry(login.to_lowercase()).or_insert_with(|| {
        let kind = if login.ends_with("[bot]") { UserKind::Bot } else { UserKind::User };
        User { id, login: login.to_owned(), kind, role: Role::None }
    })
}

/// Registers the App with a new key and new secrets.
pub(super) fn new_world(
    urls: Urls,
    options: &EmulatorOptions,
    outbox: mpsc::Sender<u64>,
    now: Timestamp,
) -> Result<World, EmulatorError> {
    let (private_key_pem, public_key) = generate_key()?;
    let granted = match options.permissions.is_empty() {
        true => DEFAULT_PERMISSIONS.map(|(name, level)| (name.to_owned(), level.to_owned())).into(),
        false => options.permissions.clone(),
    };
    let app = App {
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
        events: DEFAULT_EVENTS.map(str::to_owned).to_vec(),
        created_at: now,
    };
    let mut world = World {
        urls,
        app,
        users: BTreeMap::new(),
        repositories: Vec::new(),
        tokens: BTreeMap::new(),
        deliveries: VecDeque::new(),
        to_hold: 0,
        held: Vec::new(),
        to_duplicate: 0,
        to_reorder: 0,
        reordering: Vec::new(),
        calls: BTreeMap::new(),
        faults: Vec::new(),
        rate_limit: RateLimit {
            max: RATE_LIMIT_MAX,
            used: 0,
            resets_at: now + SignedDuration::from_hours(1),
        },
        outbox,
        ids: FIRST_ID + 10,
    };
    let bot = world.app.bot_login();
    // The App's own account writes, but is no collaborator: GitHub answers `none` for it.
    for (login, kind, role) in DEMO_USERS.into_iter().chain([(bot.as_str(), UserKind::Bot, Role::None)]) {
        let user = ensure_user(&mut world, login);
        (user.kind, user.role) = (kind, role);
    }
    Ok(world)
}
