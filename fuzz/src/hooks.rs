//! Where webhooks may lead.
//!
//! A URL that is taken is https, leads to no address inside of a network, is taken again as it was made, and leads to the same
//! host for what calls it.

use std::net::IpAddr;

use http::Uri;
use service::webhook_target::Reach;
use url::{Host, Url};

/// Panics if this text, as the URL of a webhook, breaks a promise.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let refused_anywhere = Reach::Anywhere.check_url(&text).is_err();
    let Ok(checked) = Reach::Public.check_url(&text) else {
        return;
    };
    assert!(!refused_anywhere, "what may lead anywhere may lead to the internet");
    assert_eq!(Reach::Public.check_url(&checked).as_deref(), Ok(checked.as_str()), "it stays as it is");
    assert!(checked.is_ascii() && checked.starts_with("https://"), "{checked}");
    // The sender takes it apart with another parser.
    let uri: Uri = checked.parse().expect("what is taken can be called");
    let url: Url = checked.parse().expect("what is taken is a URL");
    assert!(!uri.authority().expect("it names a host").as_str().contains('@'), "{checked}");
    assert_eq!(uri.host(), url.host_str(), "{checked}");
    assert_eq!(uri.port_u16(), url.port(), "{checked}");
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    if let Ok(address) = host.parse::<IpAddr>() {
        assert!(Reach::Public.covers(address), "{checked}");
        assert!(!address.is_loopback() && !address.is_unspecified() && !address.is_multicast(), "{checked}");
        assert!(matches!(url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_))), "{checked}");
    }
}

/// URLs that are taken, and some that look like it.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "https://example.com/hooks?token=x",
        "HTTPS://Example.COM:8443/a b",
        "https://8.8.8.8/",
        "https://[2600:1f00::1]:443/",
        "https://b\u{fc}cher.example/\u{fc}",
        "https://0x7f000001/",
        "https://127.0.0.1.:80\\@example.com/",
        "https://me:sesame@example.com/#part",
        "http://localhost:8080/",
    ]
    .map(|url| url.as_bytes().to_vec())
    .into()
}
