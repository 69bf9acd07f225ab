//! The environment variables that every sandbox starts with, on every backend. None are the host's.

use std::path::Path;

use super::egress::PROXY_PORT;
use super::layout::HOME;

/// The search path for programs of a root file system that names none.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The search path for programs: what setups install for the user, then the root file system's own path, if it names
/// one.
pub(super) fn search_path(own: Option<&str>) -> String {
    format!("{HOME}/.local/bin:{}", own.unwrap_or(SYSTEM_PATH))
}

/// The variables that tell tools about a proxy. Most tools (also apt and Go) read the first ones; some
/// have their own.
const PROXY_VARIABLES: [&str; 14] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "PIP_PROXY",
    "CARGO_HTTP_PROXY",
    "npm_config_proxy",
    "npm_config_https_proxy",
    "YARN_HTTP_PROXY",
    "YARN_HTTPS_PROXY",
];

/// Few attempts, with short pauses.
const RETRIES: [(&str, &str); 4] = [
    ("npm_config_fetch_retries", "2"),
    ("npm_config_fetch_retry_mintimeout", "500"),
    ("npm_config_fetch_retry_maxtimeout", "2000"),
    ("PIP_RETRIES", "2"),
];
/// Packages that load a whole browser when they are installed; the tests that need one are few, and the file is not on
/// a package registry. Also: uv takes certificates from the root file system.
const SETUP: [(&str, &str); 4] = [
    ("PUPPETEER_SKIP_DOWNLOAD", "true"),
    ("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1"),
    ("CYPRESS_INSTALL_BINARY", "0"),
    ("UV_NATIVE_TLS", "true"),
];

/// Debian's list of certificate authorities, which an operator extends for internal registries.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The variables that make tools with certificates of their own (uv, Node) accept the root file system's, if it has
/// any. `root` is where it is seen on this machine.
pub(super) fn certificate_variables(root: &Path) -> Vec<(&'static str, String)> {
    let path = root.join(CERTIFICATES.trim_start_matches('/'));
    let names = if path.is_file() { &["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"][..] } else { &[] };
    names.iter().map(|name| (*name, CERTIFICATES.to_owned())).collect()
}

/// Without a network, cargo, npm and pip fail immediately and say what is missing.
const OFFLINE: [(&str, &str); 3] =
    [("CARGO_NET_OFFLINE", "true"), ("npm_config_offline", "true"), ("PIP_RETRIES", "0")];

/// All variables except `PATH`. With a proxy, they include those that tell tools about it; without, those
/// that make tools fail immediately instead of retrying.
pub(super) fn variables(proxy: bool) -> Vec<(&'static str, String)> {
    let mut variables: Vec<(&'static str, String)> = [
        ("HOME", HOME),
        ("USER", "agent"),
        ("LOGNAME", "agent"),
        ("SHELL", "/bin/sh"),
        ("LANG", "C.UTF-8"),
        ("TERM", "dumb"),
        ("TMPDIR", "/tmp"),
        ("CI", "true"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    variables.push(("CARGO_HOME", format!("{HOME}/.cargo")));
    if proxy {
        let address = format!("http://127.0.0.1:{PROXY_PORT}");
        for name in PROXY_VARIABLES {
            variables.push((name, address.clone()));
        }
        for name in ["NO_PROXY", "no_proxy", "npm_config_noproxy"] {
            variables.push((name, "localhost,127.0.0.1,::1".to_owned()));
        }
        // Java reads none of the other variables. It reports this one on standard error.
        let java = format!(
            "-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort={PROXY_PORT} -Dhttps.proxyHost=127.0.0.1 \
             -Dhttps.proxyPort={PROXY_PORT} -Dhttp.nonProxyHosts=localhost|127.0.0.1"
        );
        variables.push(("JAVA_TOOL_OPTIONS", java));
        // A request that the proxy refused will be refused again. By default npm waits up to a minute
        // between attempts, for each package.
        variables.extend(RETRIES.into_iter().chain(SETUP).map(|(name, value)| (name, value.to_owned())));
    } else {
        variables.extend(OFFLINE.map(|(name, value)| (name, value.to_owned())));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_the_root_file_system_count_if_it_has_any() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(certificate_variables(root.path()), []);
        let directory = root.path().join("etc/ssl/certs");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("ca-certificates.crt"), "").unwrap();
        let path = "/etc/ssl/certs/ca-certificates.crt".to_owned();
        let expected = [("SSL_CERT_FILE", path.clone()), ("NODE_EXTRA_CA_CERTS", path)];
        assert_eq!(certificate_variables(root.path()), expected);
    }

    #[test]
    fn what_a_setup_installs_for_the_user_is_found_first() {
        assert_eq!(search_path(Some("/opt/bin")), "/home/agent/.local/bin:/opt/bin");
        assert!(search_path(None).starts_with("/home/agent/.local/bin:/usr/local/sbin:"));
    }

    #[test]
    fn variables_name_the_proxy_for_every_tool_only_if_there_is_one() {
        let with = variables(true);
        let value =
            |name: &str| with.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        for name in ["http_proxy", "HTTPS_PROXY", "ALL_PROXY", "PIP_PROXY", "npm_config_https_proxy"] {
            assert_eq!(value(name), Some("http://127.0.0.1:3128"), "{name}");
        }
        assert!(value("JAVA_TOOL_OPTIONS").unwrap().contains("-Dhttps.proxyPort=3128"));
        assert_eq!((value("npm_config_offline"), value("PIP_RETRIES")), (None, Some("2")));
        assert_eq!((value("GOPROXY"), value("GOFLAGS"), value("CARGO_NET_OFFLINE")), (None, None, None));
        let names: std::collections::HashSet<_> = with.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), with.len(), "a variable is set twice");
        let without = variables(false);
        assert!(
            !without.iter().any(|(name, _)| name.to_lowercase().contains("proxy") || name.contains("JAVA"))
        );
    }
}
