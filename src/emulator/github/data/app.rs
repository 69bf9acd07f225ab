//! The registered App and its one installation.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::SecretString;

/// What the bot under test is configured with.
#[derive(Debug, Clone)]
pub struct AppCredentials {
    /// The App's id: `iss` of its tokens.
    pub app_id: u64,
    /// The App's name in addresses; its bot account is `slug[bot]`.
    pub slug: String,
    /// The newer identifier, allowed as `iss` as well.
    pub client_id: String,
    /// The RSA key as PKCS#1, the format in which GitHub issues it.
    pub private_key_pem: SecretString,
    /// The secret that signs webhooks.
    pub webhook_secret: SecretString,
    /// The one installation.
    pub installation_id: u64,
}

/// The registration, as the emulator stores it.
pub(crate) struct AppRegistration {
    pub(crate) id: u64,
    pub(crate) slug: String,
    pub(crate) client_id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    /// DER of the RSA public key.
    pub(crate) public_key: Vec<u8>,
    pub(crate) private_key_pem: SecretString,
    /// Codes of the manifest flow that have not been used yet.
    pub(crate) manifest_codes: Vec<String>,
    pub(crate) webhook_secret: SecretString,
    pub(crate) webhook_url: Option<url::Url>,
    pub(crate) hook_id: u64,
    pub(crate) installation: u64,
    pub(crate) suspended_at: Option<Timestamp>,
    pub(crate) owner: String,
    /// The permissions that it requests: `name → read | write`.
    pub(crate) permissions: BTreeMap<String, String>,
    /// The permissions that the installation granted.
    pub(crate) granted: BTreeMap<String, String>,
    /// Whether the App is installed.
    pub(crate) installed: bool,
    pub(crate) events: Vec<String>,
    pub(crate) created_at: Timestamp,
}

impl AppRegistration {
    /// The login of its bot account.
    pub(crate) fn bot_login(&self) -> String {
        format!("{}[bot]", self.slug)
    }

    /// The credentials of this registration.
    pub(crate) fn credentials(&self) -> AppCredentials {
        AppCredentials {
            app_id: self.id,
            slug: self.slug.clone(),
            client_id: self.client_id.clone(),
            private_key_pem: self.private_key_pem.clone(),
            webhook_secret: self.webhook_secret.clone(),
            installation_id: self.installation,
        }
    }
}
