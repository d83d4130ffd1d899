//! Whose address an event carries (contract, "Client address").

use std::net::IpAddr;

use ipnet::IpNet;

/// The client's address: the peer's, unless the peer is a trusted proxy. Then `X-Forwarded-For` is walked from its end,
/// from the nearest hop outwards, and the first hop that is no trusted proxy is the client; whatever stands before it
/// was written by strangers. Without that header `X-Real-IP` counts.
///
/// The walk stops at a hop that is no address (`unknown`, a name, garbage): the last hop known for sure is the answer. When all
/// hops are trusted, the farthest is. Ports, brackets and zones are removed; `::ffff:192.0.2.1` is `192.0.2.1`.
///
/// `forwarded_for` are the header's values in the order of the request, as raw bytes: a value that is not text must stop
/// the walk, not vanish from it.
pub fn client_address<'a>(
    peer: IpAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
    real_ip: Option<&'a [u8]>,
    trusted: &[IpNet],
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut nearest = peer.to_canonical();
    if !is_trusted(nearest) {
        return nearest;
    }
    let mut hops = forwarded_for
        .rev()
        .flat_map(|value| value.rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|hop| !hop.is_empty())
        .peekable();
    if hops.peek().is_none() {
        return real_ip.and_then(hop_address).unwrap_or(nearest);
    }
    for hop in hops {
        let Some(address) = hop_address(hop) else {
            break;
        };
        nearest = address;
        if !is_trusted(nearest) {
            break;
        }
    }
    nearest
}

/// The address in a hop: `192.0.2.1`, `192.0.2.1:1234`, `2001:db8::1`, `[2001:db8::1]:1234`, each perhaps with zone or in quotes.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim().trim_matches('"');
    let bare = match hop.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        // One colon is a port; more are an IPv6 address.
        None => match hop.split_once(':') {
            Some((host, port)) if !port.contains(':') => host,
            _ => hop,
        },
    };
    let without_zone = bare.split('%').next().unwrap_or_default();
    without_zone.parse().ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "10.0.0.1";
    const TRUSTED: [&str; 3] = ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"];

    fn address(peer: &str, forwarded_for: &[&str], real_ip: Option<&str>) -> String {
        let trusted: Vec<IpNet> = TRUSTED.iter().map(|net| net.parse().unwrap()).collect();
        client_address(
            peer.parse().unwrap(),
            forwarded_for.iter().map(|value| value.as_bytes()),
            real_ip.map(str::as_bytes),
            &trusted,
        )
        .to_string()
    }

    #[test]
    fn a_stranger_cannot_choose_his_address() {
        assert_eq!(
            address("198.51.100.7", &["203.0.113.9"], Some("203.0.113.9")),
            "198.51.100.7"
        );
        assert_eq!(address("::ffff:198.51.100.7", &[], None), "198.51.100.7");
        let nobody: [IpNet; 0] = [];
        let peer = "127.0.0.1".parse().unwrap();
        let header = [&b"203.0.113.9"[..]];
        assert_eq!(client_address(peer, header.into_iter(), None, &nobody), peer);
    }

    #[test]
    fn behind_a_proxy_the_nearest_untrusted_hop_counts() {
        for (values, expected) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            (&["1.1.1.1", "203.0.113.9", "10.9.9.9, 10.0.0.2"], "203.0.113.9"),
            (&["203.0.113.9 , ,", ""], "203.0.113.9"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["203.0.113.9:4711"], "203.0.113.9"),
            (&["[2001:db8::9]:4711"], "2001:db8::9"),
            (&["\"[2001:db8::9]\""], "2001:db8::9"),
            (&["2001:db8::9%eth0"], "2001:db8::9"),
            (&["203.0.113.9, fd00::1"], "203.0.113.9"),
            (&["203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9"),
        ] {
            assert_eq!(address(PEER, values, Some("192.0.2.200")), expected, "{values:?}");
        }
    }

    #[test]
    fn a_hop_that_is_no_address_ends_the_walk_at_the_last_sure_one() {
        for (values, expected) in [
            (&["203.0.113.9, unknown"][..], PEER),
            (&["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
            (&["_hidden"], PEER),
            (&["203.0.113.999"], PEER),
            (&["[2001:db8::9"], PEER),
            (&["client.example.com:80"], PEER),
        ] {
            assert_eq!(address(PEER, values, Some("192.0.2.200")), expected, "{values:?}");
        }
        let trusted: IpNet = "10.0.0.0/8".parse().unwrap();
        let values = [&b"203.0.113.9"[..], &b"\xff\xfe"[..]];
        let found = client_address(PEER.parse().unwrap(), values.into_iter(), None, &[trusted]);
        assert_eq!(found.to_string(), PEER);
    }

    #[test]
    fn real_ip_counts_only_without_the_other_header() {
        assert_eq!(address(PEER, &[], Some("203.0.113.9")), "203.0.113.9");
        assert_eq!(address(PEER, &[" , "], Some(" 203.0.113.9 ")), "203.0.113.9");
        assert_eq!(address("::ffff:10.0.0.1", &[], Some("203.0.113.9")), "203.0.113.9");
        assert_eq!(address(PEER, &[], Some("nonsense")), PEER);
        assert_eq!(address(PEER, &[], None), PEER);
    }
}
