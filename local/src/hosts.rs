//! The hosts that the hub knows as its own.
//!
//! The URLs that it hands out begin with the host that the request names, because that is where the client reaches it.
//! But an attacker who can make another client's request name another host would have that client sent there, with its
//! tokens and uploads. So the host has to be one that is certainly the hub's: this machine, the address that the
//! request came to, or a name that the operator gave.

use std::collections::BTreeSet;
use std::net::IpAddr;

use common::wire::WireError;
use http::HeaderMap;
use http::header::HOST;
use http::uri::Authority;

use crate::connections::Peer;

/// Characters of a host that a refusal shows.
const SHOWN: usize = 100;

/// What the hub is called.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    names: BTreeSet<String>,
}

impl Hosts {
    /// Names beside those that every hub has: hosts without a port.
    pub(crate) fn new(names: &[String]) -> Self {
        Self { names: names.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect() }
    }

    /// The host, and the port, that a request names, if it is one of the hub's.
    ///
    /// # Errors
    /// [`WireError::InvalidHost`] for what is none, or more than one.
    pub(crate) fn named(&self, headers: &HeaderMap, peer: Option<Peer>) -> Result<Option<String>, WireError> {
        let mut given = headers.get_all(HOST).iter();
        let Some(host) = given.next() else {
            // As HTTP/1.0 has it.
            return Ok(None);
        };
        let shown = || String::from_utf8_lossy(host.as_bytes()).chars().take(SHOWN).collect::<String>();
        let invalid =
            |what: &str| WireError::InvalidHost(format!("the header Host {what}: '{}'", shown().escape_debug()));
        if given.next().is_some() {
            return Err(invalid("is there more than once"));
        }
        let authority: Option<Authority> = host.to_str().ok().and_then(|host| host.parse().ok());
        let authority = authority.filter(|authority| {
            let host = authority.host();
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            let is_host = host.starts_with('[') || host.bytes().all(is_name);
            let port = authority.as_str().strip_prefix(host);
            let is_port = port.is_some_and(|port| port.is_empty() || authority.port_u16().is_some());
            !host.is_empty() && is_host && is_port
        });
        let authority = authority.ok_or_else(|| invalid("names no host"))?;
        Ok(self.knows(authority.host(), peer).then(|| authority.as_str().to_owned()))
    }

    fn knows(&self, host: &str, peer: Option<Peer>) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            let is_own = |peer: Peer| peer.to.to_canonical() == address.to_canonical();
            return address.to_canonical().is_loopback() || peer.is_some_and(is_own) || self.names.contains(bare);
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost") || self.names.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn named(host: &str, names: &[&str]) -> Result<Option<String>, WireError> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap())]);
        let peer = Peer { from: [198, 51, 100, 9].into(), to: [192, 0, 2, 1].into() };
        Hosts::new(&names).named(&headers, Some(peer))
    }

    #[test]
    fn the_hub_knows_this_machine_the_address_that_was_called_and_names_that_were_given() {
        for host in [
            "localhost",
            "LOCALHOST:8787",
            "hub.localhost:1",
            "localhost.",
            "127.0.0.1:8787",
            "127.9.9.9",
            "[::1]:8787",
            "192.0.2.1",
            "192.0.2.1:443",
            "[::ffff:192.0.2.1]:8787",
            "hub.lan",
            "Hub.LAN:8787",
            "hub.lan.",
            "10.0.0.7:80",
        ] {
            assert_eq!(named(host, &["hub.lan.", "10.0.0.7"]).unwrap().as_deref(), Some(host));
        }
        for host in [
            "evil.example",
            "evil.example:8787",
            "localhost.evil.example",
            "hub.lan.evil.example",
            "192.0.2.2",
            "[2001:db8::1]",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "xhub.lan",
        ] {
            assert_eq!(named(host, &["hub.lan"]).unwrap(), None, "{host}");
        }
    }

    #[test]
    fn what_names_no_host_is_refused() {
        for host in [
            "",
            "a?x=",
            "a/b",
            "user@localhost",
            "localhost:",
            "localhost:x",
            "localhost:99999",
            "a b",
            "a,b",
            "[::1",
            "a#b",
            "ü",
            "http://localhost",
            ":8787",
        ] {
            let refused = named(host, &[]).unwrap_err();
            assert!(matches!(refused, WireError::InvalidHost(_)), "{host}: {refused}");
        }
        let mut twice = HeaderMap::new();
        twice.append(HOST, HeaderValue::from_static("localhost"));
        twice.append(HOST, HeaderValue::from_static("localhost"));
        assert!(Hosts::default().named(&twice, None).is_err());
        assert_eq!(Hosts::default().named(&HeaderMap::new(), None).unwrap(), None);
    }
}
