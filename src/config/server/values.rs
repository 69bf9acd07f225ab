//! Values that several sections have: texts, numbers, web addresses.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use url::Url;

use crate::config::given::{ConfigError, Found, Given};
use crate::config::is_loopback;

pub(super) fn text<'g>(given: &'g Given, key: &str) -> Result<Option<&'g str>, ConfigError> {
    given.get(key).map(Found::text).transpose()
}

pub(super) fn number<T>(given: &Given, key: &str, range: RangeInclusive<T>) -> Result<Option<T>, ConfigError>
where
    T: FromStr + PartialOrd + Display,
{
    given.get(key).map(|found| found.number(range)).transpose()
}

pub(super) fn web_address(given: &Given, key: &str) -> Result<Option<Url>, ConfigError> {
    let Some(found) = given.get(key) else { return Ok(None) };
    let url: Option<Url> = found.text()?.parse().ok();
    let usable = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let remedy = "write it as \"https://host/path\", without user name, query or fragment";
    // What stands before an '@' may be a password.
    let shown = if found.text()?.contains('@') { found.hidden() } else { found.clone() };
    url.filter(usable).map(Some).ok_or_else(|| shown.wrong("is no web address", remedy))
}

pub(super) fn known_url(text: &'static str) -> Url {
    text.parse().expect("an address in this file is one")
}

pub(super) fn warn_of_plain_http(url: &Url, key: &str, warnings: &mut Vec<String>) {
    if url.scheme() == "http" && !is_loopback(url) {
        warnings.push(format!("{key} = {url}: tokens go over the network in the clear; use https"));
    }
}
