//! Where a webhook may lead: never inside the network that the hub is in. The owner of a repo names the URL, and the
//! hub calls it from its own network.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use common::wire::limits::MAX_HOOK_URL;

/// What webhooks may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Hosts of the public internet, by https.
    #[default]
    Public,
    /// Anything, by http too: for a hub that serves its own machine or network.
    Anywhere,
}

/// Why a text is not the URL of a webhook; the sentence goes to the client and repeats nothing of the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadTarget(&'static str);

impl Reach {
    /// The URL of a webhook, as it will be called.
    ///
    /// # Errors
    /// When nothing may be delivered there, as far as its text shows. What a host name leads to is seen when a connection is
    /// made, and each time: [`Reach::covers`].
    pub fn check_url(self, text: &str) -> Result<String, BadTarget> {
        if text.len() > MAX_HOOK_URL {
            return Err(BadTarget("at most 2048 bytes"));
        }
        let url = Url::parse(text).map_err(|_| BadTarget("a URL such as https://example.com/hooks"))?;
        match (url.scheme(), self) {
            ("https", _) | ("http", Self::Anywhere) => {}
            (_, Self::Public) => return Err(BadTarget("it begins with https://")),
            (_, Self::Anywhere) => return Err(BadTarget("it begins with https:// or http://")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadTarget(
                "without a user or password: deliveries are signed, and a path or query may be secret",
            ));
        }
        if url.fragment().is_some() {
            return Err(BadTarget("without a fragment, which no server sees"));
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return Err(BadTarget("it names a host")),
        };
        if address.is_some_and(|address| !self.covers(address)) {
            return Err(BadTarget("its address is not one of the public internet"));
        }
        // What is not ASCII has become longer.
        if url.as_str().len() > MAX_HOOK_URL {
            return Err(BadTarget("at most 2048 bytes"));
        }
        // What sends is stricter than what parses: about the characters of a host, for example.
        if url.as_str().parse::<http::Uri>().is_err() {
            return Err(BadTarget("a URL such as https://example.com/hooks"));
        }
        Ok(url.into())
    }

    /// Whether a connection may be made to an address.
    pub fn covers(self, address: IpAddr) -> bool {
        self == Self::Anywhere || is_public(address)
    }
}

/// Whether an address is one of the public internet. What IANA has set aside for anything else is not:
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>,
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>.
fn is_public(address: IpAddr) -> bool {
    let lies_in = |network: &&str| network.parse::<IpNet>().is_ok_and(|network| network.contains(&address));
    GLOBAL.iter().any(lies_in) && !SPECIAL.iter().any(lies_in)
}

/// What addresses of the public internet are taken from. Outside of it are, among others, IPv6's loopback, IPv4 in IPv6
/// (`::ffff:0:0/96`, `64:ff9b::/96`), unique local (`fc00::/7`), link-local (`fe80::/10`) and multicast (`ff00::/8`).
const GLOBAL: [&str; 2] = ["0.0.0.0/0", "2000::/3"];

const SPECIAL: [&str; 19] = [
    // This network.
    "0.0.0.0/8",
    // Private.
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    // Shared by the customers of a carrier.
    "100.64.0.0/10",
    // Loopback, where Lambda's runtime API is too.
    "127.0.0.0/8",
    // Link-local, where clouds give machines their credentials.
    "169.254.0.0/16",
    // Protocols; Teredo among them, which leads to IPv4 addresses.
    "192.0.0.0/24",
    "2001::/23",
    // What was once relayed to IPv6, and 6to4, which leads to IPv4 addresses.
    "192.88.99.0/24",
    "2002::/16",
    // Documentation.
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "2001:db8::/32",
    "3fff::/20",
    // Benchmarks.
    "198.18.0.0/15",
    // Multicast; reserved, and broadcast.
    "224.0.0.0/4",
    "240.0.0.0/4",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn every_network_of_the_lists_is_one() {
        for text in GLOBAL.iter().chain(&SPECIAL) {
            let network: IpNet = text.parse().unwrap();
            assert_eq!(network.network(), network.addr(), "{text}");
        }
    }

    #[test]
    fn only_addresses_of_the_public_internet_are_covered() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(!Reach::Public.covers(address.parse().unwrap()), "{address}");
            assert!(Reach::Anywhere.covers(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2600:1f00::1",
            "2a00:1450::1",
        ] {
            assert!(Reach::Public.covers(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_url_is_checked_as_it_will_be_called() {
        for url in [
            "https://example.com",
            "https://example.com:8443/hooks?token=x",
            "HTTPS://Example.COM/a b",
            "https://8.8.8.8/",
            "https://[2600:1f00::1]/",
            "https://bücher.example/",
        ] {
            let checked = Reach::Public.check_url(url).unwrap();
            assert!(checked.is_ascii() && checked.starts_with("https://"), "{checked}");
            assert_eq!(Reach::Public.check_url(&checked).unwrap(), checked, "it stays as it is");
        }
        let long = format!("https://example.com/{}", "x".repeat(2_048));
        let longer_when_encoded = format!("https://example.com/{}", "ü".repeat(1_000));
        for url in [
            "",
            "example.com",
            "/hooks",
            "ftp://example.com",
            "file:///etc/passwd",
            "data:,x",
            "http://example.com",
            "https://",
            "https://}.example.com",
            "https://me@example.com",
            "https://me:sesame@example.com",
            "https://example.com/#part",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://0/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://10.0.0.1:9001/",
            "https://169.254.169.254/latest",
            &long,
            &longer_when_encoded,
        ] {
            let refused = Reach::Public.check_url(url).unwrap_err().to_string();
            assert!(!refused.contains("sesame") && !refused.contains("passwd"), "{refused}");
        }
        for url in ["http://127.0.0.1:8000/hooks", "http://localhost/", "https://10.0.0.1/"] {
            assert_eq!(Reach::Anywhere.check_url(url).unwrap(), url);
        }
        for url in ["ftp://localhost", "http://me@localhost/", "http://localhost/#x"] {
            Reach::Anywhere.check_url(url).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn an_ipv4_address_inside_of_an_ipv6_one_is_never_covered(address in any::<u32>()) {
            let v4 = Ipv4Addr::from(address);
            let [a, b] = [(address >> 16) as u16, address as u16];
            for hidden in [
                v4.to_ipv6_mapped(),
                Ipv6Addr::from(u128::from(address)),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b),
                Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, a, b),
            ] {
                prop_assert!(!Reach::Public.covers(IpAddr::V6(hidden)), "{}", hidden);
            }
        }

        #[test]
        fn what_the_standard_library_calls_special_is_never_covered(v4 in any::<u32>(), v6 in any::<u128>(), top in any::<u16>()) {
            let v4 = Ipv4Addr::from(v4);
            if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast()
                || v4.is_documentation() || v4.is_unspecified()
            {
                prop_assert!(!Reach::Public.covers(v4.into()), "{}", v4);
            }
            // The first group says most, and is drawn by itself so that each is met.
            let v6 = Ipv6Addr::from(v6 >> 16 | u128::from(top) << 112);
            if v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast() || v6.is_loopback() || v6.is_unspecified() {
                prop_assert!(!Reach::Public.covers(v6.into()), "{}", v6);
            }
        }

        #[test]
        fn whatever_text_is_taken_is_a_url_without_more_than_it_may_have(text in "(https?://)?[a-z0-9@:#/?%.\\[\\]]{0,30}") {
            if let Ok(url) = Reach::Public.check_url(&text) {
                let uri: http::Uri = url.parse().expect("what the client of deliveries takes");
                prop_assert_eq!(uri.scheme_str(), Some("https"));
                prop_assert!(uri.authority().is_some_and(|authority| !authority.as_str().contains('@')));
                prop_assert!(!url.contains('#'));
            }
        }
    }
}
