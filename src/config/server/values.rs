//! Helpers for web addresses that several sections use.

use url::Url;

use crate::domain::is_loopback;

pub(super) fn known_url(text: &'static str) -> Url {
    text.parse().expect("an address in this program is one")
}

pub(super) fn warn_of_plain_http(url: &Url, key: &str, warnings: &mut Vec<String>) {
    if url.scheme() == "http" && !is_loopback(url) {
        warnings.push(format!("{key} = {url}: tokens cross the network unencrypted; use https"));
    }
}
