//! The root of the data: one struct behind the emulator's one lock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;

use super::account::{Account, AccountKind, Role};
use super::app::AppRegistration;
use super::delivery::Delivery;
use super::fault::ActiveFault;
use super::repository::Repository;
use super::token::InstallationToken;

/// The data behind the emulator's one lock. The lock is never held across an await.
pub(crate) struct Database {
    pub(crate) urls: Urls,
    pub(crate) app: AppRegistration,
    /// By lower-case login.
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) repositories: Vec<Repository>,
    /// By the token's text.
    pub(crate) tokens: BTreeMap<String, InstallationToken>,
    /// Oldest first.
    pub(crate) deliveries: VecDeque<Delivery>,
    /// How many of the next deliveries are held back.
    pub(crate) deliveries_to_hold: u32,
    /// The deliveries held back until they are released; GitHub's log does not list them either.
    pub(crate) held_deliveries: Vec<Delivery>,
    /// How many of the next deliveries are sent twice.
    pub(crate) deliveries_to_duplicate: u32,
    /// How many of the next deliveries are collected, to be sent in reverse order.
    pub(crate) deliveries_to_reorder: u32,
    pub(crate) reordered_deliveries: Vec<Delivery>,
    /// How often each operation was called.
    pub(crate) calls: BTreeMap<String, u64>,
    pub(crate) faults: Vec<ActiveFault>,
    pub(crate) rate_limit: RateLimit,
    /// Ids of deliveries to send.
    pub(crate) outbox: mpsc::Sender<u64>,
    pub(crate) last_id: u64,
}

/// The emulator's addresses, without a slash at the end.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    pub(crate) web: String,
    pub(crate) api: String,
}

/// Requests an hour, as GitHub counts them for each installation.
#[derive(Debug, Clone)]
pub(crate) struct RateLimit {
    pub(crate) max: u64,
    pub(crate) used: u64,
    pub(crate) resets_at: Timestamp,
}

impl RateLimit {
    const WINDOW: SignedDuration = SignedDuration::from_hours(1);

    pub(crate) fn new(max: u64, now: Timestamp) -> Self {
        Self { max, used: 0, resets_at: whole_seconds(now + Self::WINDOW) }
    }

    /// Sets the limit. Without `resets_in` the current hour continues.
    pub(crate) fn set(&mut self, max: u64, used: u64, resets_in: Option<Duration>, now: Timestamp) {
        (self.max, self.used) = (max, used);
        if let Some(resets_in) = resets_in {
            self.resets_at = whole_seconds(now + resets_in);
        }
    }

    /// Starts a new hour if the current one is over.
    pub(crate) fn renew(&mut self, now: Timestamp) {
        if now >= self.resets_at {
            *self = Self::new(self.max, now);
        }
    }
}

/// The header that reports the reset has no fractions of a second.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

impl Database {
    /// A fresh id. One sequence serves everything, so that ids never coincide by chance.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The address of a repository in the REST API.
    pub(crate) fn api_url(&self, repository: &Repository) -> String {
        format!("{}/repos/{}", self.urls.api, repository.full_name())
    }

    /// The address of a repository's page.
    pub(crate) fn page_url(&self, repository: &Repository) -> String {
        format!("{}/{}", self.urls.web, repository.full_name())
    }

    /// Counts one call of an operation.
    pub(crate) fn count_call(&mut self, operation: &str) {
        *self.calls.entry(operation.to_owned()).or_default() += 1;
    }

    /// The account with that login.
    pub(crate) fn account(&self, login: &str) -> Option<&Account> {
        self.accounts.get(&login.to_lowercase())
    }

    /// The account with that login. If there is none, one without a role is created.
    pub(crate) fn ensure_account(&mut self, login: &str) -> &mut Account {
        let id = self.next_id();
        self.accounts.entry(login.to_lowercase()).or_insert_with(|| {
            let kind = if login.ends_with("[bot]") { AccountKind::Bot } else { AccountKind::User };
            Account { id, login: login.to_owned(), kind, role: Role::None, membership_is_hidden: false }
        })
    }

    /// The index of the repository that has this `owner/name` now.
    pub(crate) fn repository_named(&self, full_name: &str) -> Option<usize> {
        let has_name = |repository: &Repository| repository.full_name().eq_ignore_ascii_case(full_name);
        self.repositories.iter().position(has_name)
    }

    /// The index of the repository that had this `owner/name` before it was renamed.
    pub(crate) fn repository_formerly_named(&self, full_name: &str) -> Option<usize> {
        let is_same = |name: &String| name.eq_ignore_ascii_case(full_name);
        self.repositories.iter().position(|repository| repository.former_names.iter().any(is_same))
    }

    /// Ends the validity of every installation token.
    pub(crate) fn expire_tokens(&mut self, now: Timestamp) {
        self.tokens.values_mut().for_each(|token| token.expires_at = now);
    }

    /// Whether every webhook was answered or has failed.
    pub(crate) fn deliveries_settled(&self) -> bool {
        self.deliveries.iter().all(|delivery| delivery.result.is_some())
    }
}
