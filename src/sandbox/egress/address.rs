//! Which addresses the proxy may connect to, whatever a name resolves to: public addresses outside of this
//! machine's networks and, for an internal host, those in its configured range.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;

use crate::domain::is_forbidden_address;

/// A network with a shorter prefix is not a local one: tunnel interfaces have such networks.
const NEIGHBOURS_V4_PREFIX_MIN: u8 = 8;
const NEIGHBOURS_V6_PREFIX_MIN: u8 = 32;

/// Whether an address is on the public internet, according to IANA's registries of special-purpose addresses
/// (RFC 6890).
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        _ if is_forbidden_address(address) => false,
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Whether an address is this machine's own, or in a network of one of its interfaces. A public address may
/// be, too; then it may be behind a firewall.
pub(super) fn is_of_this_machines_networks(address: IpAddr) -> std::io::Result<bool> {
    let address = address.to_canonical();
    let is_local = |(own, mask): (IpAddr, Option<IpAddr>)| {
        own == address || mask.is_some_and(|mask| is_in_network(address, own, mask))
    };
    Ok(interfaces()?.any(is_local))
}

/// Whether an address is this machine's own, wherever its networks are.
pub(super) fn is_this_machines(address: IpAddr) -> std::io::Result<bool> {
    let address = address.to_canonical();
    Ok(interfaces()?.any(|(own, _)| own == address))
}

/// The addresses of this machine, with their networks' masks.
fn interfaces() -> std::io::Result<impl Iterator<Item = (IpAddr, Option<IpAddr>)>> {
    let read = |interface: nix::ifaddrs::InterfaceAddress| {
        let own = interface.address.as_ref().and_then(internet_address)?;
        Some((own, interface.netmask.as_ref().and_then(internet_address)))
    };
    Ok(getifaddrs()?.filter_map(read))
}

fn internet_address(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

fn is_in_network(address: IpAddr, own: IpAddr, mask: IpAddr) -> bool {
    let prefix_min = if own.is_ipv4() { NEIGHBOURS_V4_PREFIX_MIN } else { NEIGHBOURS_V6_PREFIX_MIN };
    // A mask with gaps is not valid.
    IpNet::with_netmask(own, mask)
        .is_ok_and(|network| network.prefix_len() >= prefix_min && network.contains(&address))
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    // Only 2000::/3 is assigned. In it, documentation, tunnels (which contain IPv4 addresses) and protocol
    // assignments are not public.
    match address.segments() {
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x2002, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        let inner = "127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 \
                     255.255.255.255 198.18.0.1 192.0.0.192 192.88.99.1 ::1 :: fe80::1 fc00::1 ff02::1 \
                     fd00:ec2::254 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1 ::127.0.0.1 \
                     64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::102:304 64:ff9b:1::1 100::1 2002:7f00:1:: \
                     2001::1 2001:db8::1 3fff::1 5f00::1 fec0::1 168.63.129.16 ::ffff:168.63.129.16";
        for address in inner.split_whitespace() {
            assert!(!is_public(address.parse().unwrap()), "{address} counts as public");
        }
        for address in
            ["140.82.121.4", "1.1.1.1", "2606:50c0:8000::153", "2a00:1450::1", "::ffff:140.82.121.4"]
        {
            assert!(is_public(address.parse().unwrap()), "{address} does not count as public");
        }
    }

    #[test]
    fn network_of_an_interface_is_local_but_that_of_a_tunnel_is_not() {
        let is_local = |address: &str, own: &str, mask: &str| {
            is_in_network(address.parse().unwrap(), own.parse().unwrap(), mask.parse().unwrap())
        };
        assert!(is_local("203.0.114.9", "203.0.114.77", "255.255.255.0"));
        assert!(!is_local("203.0.115.9", "203.0.114.77", "255.255.255.0"));
        assert!(is_local("2a00:1:2:3::9", "2a00:1:2:3::77", "ffff:ffff:ffff:ffff::"));
        assert!(!is_local("2a00:1:2:4::9", "2a00:1:2:3::77", "ffff:ffff:ffff:ffff::"));
        assert!(!is_local("203.0.114.9", "10.8.0.1", "0.0.0.0") && !is_local("2a00::1", "2a00::2", "::"));
        assert!(is_of_this_machines_networks("127.0.0.1".parse().unwrap()).unwrap());
        assert!(is_of_this_machines_networks("::ffff:127.0.0.1".parse().unwrap()).unwrap());
        assert!(!is_of_this_machines_networks("1.1.1.1".parse().unwrap()).unwrap());
        assert!(is_this_machines("::ffff:127.0.0.1".parse().unwrap()).unwrap());
        assert!(!is_this_machines("127.0.0.2".parse().unwrap()).unwrap());
    }
}
