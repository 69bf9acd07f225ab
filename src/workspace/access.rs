//! Remote callbacks: the only place where git gets a token.

use std::cell::Cell;
use std::time::{Duration, Instant};

use git2::{Cred, CredentialType, FetchOptions, PushOptions, RemoteCallbacks};
use secrecy::ExposeSecret;

use crate::github::GitAccess;

/// libgit2 asks again after each refusal; without a bound, a bad token would be sent forever.
const CREDENTIAL_TRIES_MAX: u32 = 2;

const CONNECT_MILLISECONDS_MAX: i32 = 20_000;
const IDLE_MILLISECONDS_MAX: i32 = 60_000;

/// A transfer that takes longer is aborted.
const TRANSFER_TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// Sets the timeouts for servers that do not respond. libgit2 keeps them for the whole process.
fn set_timeouts() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: sets two plain integers of libgit2, once, before the first transfer of this process.
        let set = unsafe {
            git2::opts::set_server_connect_timeout_in_milliseconds(CONNECT_MILLISECONDS_MAX)
                .and_then(|()| git2::opts::set_server_timeout_in_milliseconds(IDLE_MILLISECONDS_MAX))
        };
        if let Err(error) = set {
            tracing::warn!(error = error.message(), "git transfers have no idle timeout");
        }
    });
}

/// Callbacks that provide the token, at most twice, and abort a transfer that takes too long.
pub(super) fn callbacks(access: &GitAccess) -> RemoteCallbacks<'_> {
    let tries = Cell::new(0u32);
    let started = Instant::now();
    set_timeouts();
    let mut callbacks = RemoteCallbacks::new();
    callbacks.credentials(move |_url, _user, allowed| {
        tries.set(tries.get() + 1);
        if tries.get() > CREDENTIAL_TRIES_MAX {
            return Err(git2::Error::from_str("the token was refused"));
        }
        if !allowed.contains(CredentialType::USER_PASS_PLAINTEXT) {
            return Err(git2::Error::from_str("the server asks for something other than a token"));
        }
        Cred::userpass_plaintext(&access.username, access.token.expose_secret())
    });
    callbacks.transfer_progress(move |_| started.elapsed() < TRANSFER_TIME_MAX);
    callbacks
}

/// Options for a fetch of exactly the named refspecs, and of the tags of what they name.
pub(super) fn fetch_options(access: &GitAccess) -> FetchOptions<'_> {
    let mut options = FetchOptions::new();
    options.remote_callbacks(callbacks(access));
    options.download_tags(git2::AutotagOption::Auto);
    // A redirect could send the token to another host.
    options.follow_redirects(git2::RemoteRedirect::None);
    options
}

/// Most that one transfer may take.
pub(super) struct TransferLimit<'l> {
    pub(super) bytes: u64,
    pub(super) time: Duration,
    /// Why the transfer was aborted, if it was. Reads on after "because".
    pub(super) exceeded: &'l Cell<Option<&'static str>>,
}

/// Options for a fetch of one commit, without its history and without tags.
pub(super) fn commit_fetch_options<'a>(access: &'a GitAccess, limit: &TransferLimit<'a>) -> FetchOptions<'a> {
    let mut callbacks = callbacks(access);
    let (started, bytes_max, time_max, exceeded) = (Instant::now(), limit.bytes, limit.time, limit.exceeded);
    callbacks.transfer_progress(move |progress| {
        if progress.received_bytes() as u64 > bytes_max {
            exceeded.set(Some("the submodules are too large together"));
        } else if started.elapsed() > time_max {
            exceeded.set(Some("fetching the submodules takes too long"));
        }
        exceeded.get().is_none()
    });
    let mut options = FetchOptions::new();
    options.remote_callbacks(callbacks);
    options.download_tags(git2::AutotagOption::None);
    options.depth(1);
    // A redirect could send the token to another host.
    options.follow_redirects(git2::RemoteRedirect::None);
    options
}

/// Options for a push. `refused` receives the server's message about a reference that it did not update.
pub(super) fn push_options<'a>(access: &'a GitAccess, refused: &'a mut Option<String>) -> PushOptions<'a> {
    let mut callbacks = callbacks(access);
    callbacks.push_update_reference(move |reference, status| {
        if let Some(status) = status {
            *refused = Some(format!("{reference}: {status}"));
        }
        Ok(())
    });
    let mut options = PushOptions::new();
    options.remote_callbacks(callbacks);
    options.follow_redirects(git2::RemoteRedirect::None);
    options
}
