//! Host names: their spelling in allowlists, and which are this machine. Resolves nothing.

use url::{Host, Url};

/// The longest name that DNS has (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Why `text` is not an exact name of a host on the internet; `None` if it is one.
pub fn host_name_problem(text: &str) -> Option<&'static str> {
    let without_dots = !text.contains('.');
    internal_host_name_problem(text).or_else(|| {
        without_dots.then_some(
            "is a name of this machine or its network, which a sandbox reaches only as NAME=RANGE, where the \
             operator says where it is",
        )
    })
}

/// Why `text` is not an exact name of a host, internal hosts included; `None` if it is one.
pub fn internal_host_name_problem(text: &str) -> Option<&'static str> {
    if text.contains("://") || text.contains('/') {
        return Some("is an address of a page; write the host name alone");
    }
    if text.contains('*') {
        return Some("holds a wildcard; write each host name out");
    }
    if text.parse::<std::net::IpAddr>().is_ok() || text.starts_with('[') {
        return Some("is an IP address; write a host name");
    }
    if text.contains(':') {
        return Some("names a port; only the host name counts, and 80 and 443 are the ports");
    }
    let label = |label: &str| {
        let inside = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && inside
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or(text);
    let is_number = last.bytes().all(|b| b.is_ascii_digit());
    if text.len() > NAME_BYTES_MAX || !text.split('.').all(label) || is_number {
        return Some("is no host name");
    }
    text.eq_ignore_ascii_case("localhost").then_some("is this machine itself, which a sandbox never reaches")
}

/// Whether a URL's host is this machine, by its name or address.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{host_name_problem, is_loopback};

    #[test]
    fn only_names_and_addresses_of_this_machine_are_loopback() {
        let is_local = |url: &str| is_loopback(&url.parse().unwrap());
        assert!(
            is_local("http://localhost:1/") && is_local("http://127.9.9.9/") && is_local("http://[::1]/")
        );
        assert!(!is_local("http://localhost.example/") && !is_local("http://10.0.0.1/"));
        assert!(!is_local("unix:/socket"));
    }

    #[test]
    fn only_exact_host_names_are_accepted() {
        for name in ["packages.example.org", "a-b.c1.example", "XN--bcher-kva.example"] {
            assert_eq!(host_name_problem(name), None, "{name}");
        }
        let long = format!("{}example.org", "a.".repeat(130));
        for text in [
            "",
            "localhost",
            "*.example.org",
            "example.org:443",
            "10.0.0.1",
            "1.2.3.4.5",
            "::1",
            "[::1]",
            "https://a.example",
            "a.example/x",
            "a..b",
            ".a.b",
            "a.b.",
            "-a.b",
            "a b.c",
            "é.example",
            &long,
            "0x7f.1",
            "${HOST}.example",
        ] {
            assert!(host_name_problem(text).is_some(), "{text}");
        }
    }
}
