//! Which addresses are on the public internet. Whatever a name resolves to, no other is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is on the public internet: IANA's registries of special-purpose addresses
/// (RFC 6890) say what is not.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
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
    // Only 2000::/3 is given out; of it, not documentation, tunnels (which carry IPv4 addresses of
    // their own) and protocol assignments.
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
    fn addresses_of_this_machine_and_its_networks_are_not_public() {
        let inner = "127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 \
                     255.255.255.255 198.18.0.1 192.0.0.192 192.88.99.1 ::1 :: fe80::1 fc00::1 ff02::1 \
                     fd00:ec2::254 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1 ::127.0.0.1 \
                     64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::102:304 64:ff9b:1::1 100::1 2002:7f00:1:: \
                     2001::1 2001:db8::1 3fff::1 5f00::1 fec0::1";
        for address in inner.split_whitespace() {
            assert!(!is_public(address.parse().unwrap()), "{address} counts as public");
        }
        for address in
            ["140.82.121.4", "1.1.1.1", "2606:50c0:8000::153", "2a00:1450::1", "::ffff:140.82.121.4"]
        {
            assert!(is_public(address.parse().unwrap()), "{address} does not count as public");
        }
    }
}
