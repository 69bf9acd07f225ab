//! What can go wrong during a registration: what each problem's page says, and what to do about it.

use std::io;

use super::page::{Problem, apps_page};
use super::{AppRegistration, SETUP_PATH};
use crate::github::GitHubError;

impl AppRegistration {
    /// GitHub did not hand out the credentials.
    pub(super) fn conversion_failed(&self, error: &GitHubError) -> Problem {
        let apps = apps_page(&self.config.web_url, None);
        let delete =
            format!("Delete the App at {apps} (an organisation's App: in the organisation's settings).");
        match error {
            GitHubError::Unavailable { detail, .. } => Problem {
                title: "GitHub does not answer",
                what: format!("The App's credentials could not be fetched: {detail}."),
                remedy: "Wait a moment, and check that this machine can reach GitHub.".to_owned(),
                can_reload: true,
                restart_at: None,
            },
            GitHubError::NotFound { .. } => Problem {
                title: "GitHub's code is no longer valid",
                what:
                    "GitHub does not know the code that it sent you back with. A code works once, and for an \
                       hour. The App was registered, but nobody has its key."
                        .to_owned(),
                remedy: delete,
                can_reload: false,
                restart_at: Some(self.link(SETUP_PATH)),
            },
            GitHubError::Forbidden { .. }
            | GitHubError::Rejected { .. }
            | GitHubError::ContainsSecret { .. } => Problem {
                title: "GitHub did not hand out the credentials",
                what: format!("{error}."),
                remedy: delete,
                can_reload: false,
                restart_at: Some(self.link(SETUP_PATH)),
            },
        }
    }

    pub(super) fn unexpected_state(&self) -> Problem {
        let apps = apps_page(&self.config.web_url, None);
        Problem {
            title: "This is not the expected answer",
            what:
                "The one-time state that was given to GitHub did not come back from the browser that it was \
                   given to: it was used already, is older than an hour, or the service was restarted in the \
                   meantime. Nothing was fetched and nothing was changed."
                    .to_owned(),
            remedy: format!(
                "If you registered an App just now, delete it at {apps} (an organisation's App: in the \
                 organisation's settings)."
            ),
            can_reload: false,
            restart_at: Some(self.link(SETUP_PATH)),
        }
    }

    pub(super) fn missing_code(&self) -> Problem {
        Problem {
            title: "GitHub sent no code",
            what: "GitHub sent you back without a code: the registration was not confirmed there.".to_owned(),
            remedy: "Nothing was registered.".to_owned(),
            can_reload: false,
            restart_at: Some(self.link(SETUP_PATH)),
        }
    }

    /// The credentials cannot be stored; `what` says when that happened.
    pub(super) fn storage_failed(&self, error: &io::Error, what: &str) -> Problem {
        let directory = self.config.data_dir.display();
        let remedy = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                format!("Free some space on the disk of {directory}.")
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                format!("Allow the service's account to write to {directory}.")
            }
            _ => format!("Check that the service's account can write to {directory}."),
        };
        let location = self.sink.location(&self.config.data_dir);
        Problem {
            title: "The credentials cannot be stored",
            what: format!("{location} {what}: {error}."),
            remedy,
            can_reload: true,
            restart_at: None,
        }
    }

    /// The App is registered and its credentials are stored, but the service cannot start its work.
    pub(super) fn service_start_failed(&self, why: String) -> Problem {
        Problem {
            title: "The App is registered, but the service cannot use it",
            what: why,
            remedy: "The credentials are stored. Restart the service, and look into its log.".to_owned(),
            can_reload: false,
            restart_at: None,
        }
    }

    pub(super) fn invalid_organisation(&self) -> Problem {
        Problem {
            title: "This is not a valid organisation name",
            what: "A name on GitHub has only letters, digits and single hyphens.".to_owned(),
            remedy: "It is the part after github.com/ in the organisation's address.".to_owned(),
            can_reload: false,
            restart_at: Some(self.link(SETUP_PATH)),
        }
    }

    pub(super) fn missing_public_url(&self) -> Problem {
        Problem {
            title: "One setting is missing",
            what: format!(
                "The service does not know the address at which {} can reach it to deliver events.",
                self.config.web_url.host_str().unwrap_or("GitHub")
            ),
            remedy: "Set server.public_url (or MENDWRIGHT_SERVER_PUBLIC_URL) to it, as \
                     \"https://mendwright.example.com\", and restart the service."
                .to_owned(),
            can_reload: false,
            restart_at: None,
        }
    }

    pub(super) fn access_refused(&self, remedy: &'static str) -> Problem {
        Problem {
            title: "This page is for the operator",
            what: "Whoever registers the App controls this service.".to_owned(),
            remedy: remedy.to_owned(),
            can_reload: false,
            restart_at: None,
        }
    }
}
