//! A host that sandboxes may reach, as the operator names it: `NAME` on the public internet, or `NAME=RANGE`
//! for an internal host with an address in the range. Resolves nothing.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::host_name::{host_name_problem, internal_host_name_problem};

/// Wider ranges are no statement of where a host is: networks of a company have these sizes at most.
const V4_PREFIX_MIN: u8 = 8;
const V6_PREFIX_MIN: u8 = 32;

/// An exact host name, and where it may lead.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllowedHost {
    name: String,
    address_range: Option<IpNet>,
}

impl AllowedHost {
    /// A name that leads to public addresses. It is taken as it is: see [`AllowedHost::parse`] for
    /// what somebody typed.
    pub fn public(name: &str) -> Self {
        Self { name: normal(name), address_range: None }
    }

    /// What an operator wrote. `Err` reads on after "it".
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((name, range)) = text.split_once('=') else {
            return match host_name_problem(text) {
                Some(problem) => Err(problem.to_owned()),
                None => Ok(Self::public(text)),
            };
        };
        if let Some(problem) = internal_host_name_problem(name) {
            return Err(problem.to_owned());
        }
        let range = range.parse::<IpAddr>().map(IpNet::from).or_else(|_| range.parse::<IpNet>());
        let range = range.map_err(|_| "names a range that is none; write it as 10.1.2.0/24 or 10.1.2.3")?;
        if range.trunc() != range {
            return Err(format!("names a range that begins in its middle; write it as {}", range.trunc()));
        }
        let prefix_min = if range.addr().is_ipv4() { V4_PREFIX_MIN } else { V6_PREFIX_MIN };
        if range.prefix_len() < prefix_min {
            return Err(format!(
                "names a range wider than /{prefix_min}; name the network that the host is in"
            ));
        }
        if is_forbidden_address(range.addr()) {
            return Err(
                "names loopback, link-local, multicast or metadata addresses, which a sandbox never \
                        reaches; give the host an address of the network"
                    .to_owned(),
            );
        }
        Ok(Self { name: normal(name), address_range: Some(range) })
    }

    /// Its name, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `name`, however it is spelt, is this host's.
    pub fn has_name(&self, name: &str) -> bool {
        self.name == normal(name)
    }

    /// Where an internal host may be; `None` for a public one.
    pub fn address_range(&self) -> Option<IpNet> {
        self.address_range
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address_range {
            Some(range) => write!(f, "{}={range}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Host names mean the same in either case, and with a dot at their end.
fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether an address is of this machine alone, of nobody, of many, or one at which platforms hand
/// out credentials: no range makes these reachable.
pub fn is_forbidden_address(address: IpAddr) -> bool {
    /// Azure's platform service, which tells a virtual machine its secrets at a public address
    /// (<https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16>).
    const AZURE: [u8; 4] = [168, 63, 129, 16];
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            address.is_loopback()
                || address.is_link_local()
                || first == 0
                || first >= 224
                || address.octets() == AZURE
                || address.octets() == [192, 0, 0, 192] // Oracle's
                || address.octets() == [100, 100, 100, 200] // Alibaba's
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unicast_link_local()
                || address.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] // Amazon's
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_host_is_named_with_its_range() {
        for (text, shown) in [
            ("Registry.Example.org", "registry.example.org"),
            ("nexus=10.1.2.3", "nexus=10.1.2.3/32"),
            ("mirror.corp.example=10.1.0.0/16", "mirror.corp.example=10.1.0.0/16"),
            ("mirror.corp.example=fd12:3456::/48", "mirror.corp.example=fd12:3456::/48"),
        ] {
            assert_eq!(AllowedHost::parse(text).unwrap().to_string(), shown);
        }
        let wrong = [
            "nexus",
            "10.1.2.3=10.1.2.3",
            "*.corp.example=10.0.0.0/8",
            "a.example:8443=10.0.0.0/8",
            "a.example=",
            "a.example=10.1.2.0/33",
            "a.example=10.1.2.3/24",
            "a.example=0.0.0.0/0",
            "a.example=2000::/3",
            "a.example=127.0.0.1",
            "a.example=::ffff:127.0.0.1",
            "a.example=169.254.169.254",
            "a.example=168.63.129.16",
            "localhost=10.0.0.1",
        ];
        let errors: Vec<String> = wrong
            .iter()
            .map(|text| format!("{text}: it {}", AllowedHost::parse(text).unwrap_err()))
            .collect();
        insta::assert_snapshot!(errors.join("\n"), @r"
        nexus: it is a name of this machine or its network, which a sandbox reaches only as NAME=RANGE, where the operator says where it is
        10.1.2.3=10.1.2.3: it is an IP address; write a host name
        *.corp.example=10.0.0.0/8: it holds a wildcard; write each host name out
        a.example:8443=10.0.0.0/8: it names a port; only the host name counts, and 80 and 443 are the ports
        a.example=: it names a range that is none; write it as 10.1.2.0/24 or 10.1.2.3
        a.example=10.1.2.0/33: it names a range that is none; write it as 10.1.2.0/24 or 10.1.2.3
        a.example=10.1.2.3/24: it names a range that begins in its middle; write it as 10.1.2.0/24
        a.example=0.0.0.0/0: it names a range wider than /8; name the network that the host is in
        a.example=2000::/3: it names a range wider than /32; name the network that the host is in
        a.example=127.0.0.1: it names loopback, link-local, multicast or metadata addresses, which a sandbox never reaches; give the host an address of the network
        a.example=::ffff:127.0.0.1: it names loopback, link-local, multicast or metadata addresses, which a sandbox never reaches; give the host an address of the network
        a.example=169.254.169.254: it names loopback, link-local, multicast or metadata addresses, which a sandbox never reaches; give the host an address of the network
        a.example=168.63.129.16: it names loopback, link-local, multicast or metadata addresses, which a sandbox never reaches; give the host an address of the network
        localhost=10.0.0.1: it is this machine itself, which a sandbox never reaches
        ");
    }
}
