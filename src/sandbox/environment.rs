//! The environment that every sandbox starts with, whatever its backend: nothing of the host's.

use super::HOME;
use super::egress::PROXY_PORT;

/// Where programs are looked for after those of the toolchains.
pub(super) const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All variables but `PATH`. With a proxy, those by which tools find it; without, those that make
/// them say at once what they lack, instead of trying again and again.
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
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            variables.push((name, address.clone()));
        }
        for name in ["NO_PROXY", "no_proxy"] {
            variables.push((name, "localhost,127.0.0.1,::1".to_owned()));
        }
    } else {
        variables.push(("CARGO_NET_OFFLINE", "true".to_owned()));
    }
    variables
}
