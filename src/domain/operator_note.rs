//! What the operator has to write into the configuration so that a setup can download. It is made from what the proxy
//! and the policy say, and never read from a text: a repository's output could pretend to be one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AllowedHost;

/// What the operator has to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorNote {
    /// What happened, as a sentence.
    pub why: String,
    /// The entries of `sandbox.allowed_hosts`: the public ones that are there, and those to add. Empty: they are not
    /// known.
    pub allowed_hosts: Vec<String>,
    /// Whether there are internal hosts besides, which are not named: the note is published.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_internal_hosts: bool,
}

impl OperatorNote {
    /// A note that asks to allow `wanted` beside `allowed`. An internal host, which is named with its addresses,
    /// replaces the entry with its name alone.
    pub fn new(why: impl Into<String>, allowed: &[AllowedHost], wanted: &[AllowedHost]) -> Self {
        let is_replaced = |host: &&AllowedHost| {
            let is_internal = |one: &AllowedHost| one.has_name(host.name()) && one.address_range().is_some();
            host.address_range().is_none() && wanted.iter().any(is_internal)
        };
        let is_internal = |host: &&AllowedHost| host.address_range().is_some();
        let mut allowed_hosts: Vec<String> = Vec::new();
        if !wanted.is_empty() {
            let public = allowed.iter().filter(|host| !is_replaced(host) && !is_internal(host));
            for host in public.chain(wanted) {
                let entry = host.to_string();
                if !allowed_hosts.contains(&entry) {
                    allowed_hosts.push(entry);
                }
            }
        }
        Self {
            why: why.into(),
            allowed_hosts,
            keeps_internal_hosts: allowed.iter().any(|host| is_internal(&host)),
        }
    }

    /// The line to write into the section `[sandbox]`; `None` if the hosts are not known.
    pub fn line(&self) -> Option<String> {
        let hosts: Vec<String> = self.allowed_hosts.iter().map(|host| format!("{host:?}")).collect();
        (!hosts.is_empty()).then(|| format!("allowed_hosts = [{}]", hosts.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Vec<AllowedHost> {
        names.iter().map(|name| AllowedHost::parse(name).unwrap()).collect()
    }

    #[test]
    fn line_has_what_is_allowed_and_what_is_wanted_once() {
        let allowed = hosts(&["a.example", "nexus.corp.example=10.0.0.0/8", "b.example"]);
        let wanted = hosts(&["c.example", "a.example", "b.example=10.1.2.3/32", "b.example=10.1.2.4/32"]);
        assert_eq!(
            OperatorNote::new("x", &allowed, &wanted).line().unwrap(),
            "allowed_hosts = [\"a.example\", \"c.example\", \"b.example=10.1.2.3/32\", \
             \"b.example=10.1.2.4/32\"]"
        );
        assert!(OperatorNote::new("x", &allowed, &wanted).keeps_internal_hosts, "they are not published");
        assert_eq!(OperatorNote::new("x", &allowed, &[]).line(), None);
    }
}
