//! `musehub login`: keeps a token for a hub where the stock client looks for it.

use std::error::Error;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use clap::Args;
use client::{HubClient, HubUrl};
use http::StatusCode;
use local::identity::{self, Identity};
use serde::Deserialize;

/// Bytes of a token that are read: no header may be longer.
const MAX_TOKEN: u64 = common::wire::limits::MAX_AUTHORIZATION as u64;

#[derive(Args)]
pub struct Login {
    /// The URL of the hub, for example https://hub.example.com
    #[arg(long, value_name = "URL")]
    hub: HubUrl,
    /// The file that the token is in; else the variable MUSEHUB_TOKEN, else it is read from the standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What is looked at of a token's claims. The hub checks them.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    token_type: Option<String>,
    #[serde(default)]
    agent_name: Option<String>,
}

/// Runs `musehub login`.
pub async fn login(arguments: Login) -> Result<(), Box<dyn Error>> {
    let Login { hub, token_file } = arguments;
    let token = match (token_file, std::env::var(crate::asking::TOKEN)) {
        (Some(file), _) => std::fs::read_to_string(&file)
            .map_err(|error| format!("cannot read the token in {}: {error}", file.display()))?,
        (None, Ok(token)) if !token.trim().is_empty() => token,
        (None, _) => {
            if io::stdin().is_terminal() {
                eprintln!("Paste the token, and end with Enter and Ctrl-D:");
            }
            let mut text = String::new();
            io::stdin().take(MAX_TOKEN + 1).read_to_string(&mut text)?;
            text
        }
    };
    let token = token.trim();
    let claims = claims(token).ok_or("that is no token: a token is three words with dots between them")?;
    match HubClient::at(hub.clone(), Some(token))?.tokens().await {
        Ok(_) => {}
        // A token that was minted sees no others, and is good.
        Err(error) if error.has_status(StatusCode::FORBIDDEN) => {}
        Err(error) => return Err(error.into()),
    }
    let is_agent = claims.token_type.as_deref() == Some("agent");
    let name = claims.agent_name.unwrap_or_else(|| claims.sub.clone());
    let identity = Identity { is_agent, name, id: claims.sub, token: token.to_owned() };
    let path = identity::path()?;
    identity::keep(&path, &hub, &identity)?;
    println!("{} is logged in to {hub}: the token is kept in {}.", identity.name, path.display());
    Ok(())
}

fn claims(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_a_token_is_of_is_in_its_claims_and_what_is_no_token_has_none() {
        let claims_of = |json: &str| claims(&format!("head.{}.signature", BASE64.encode(json)));
        let agent = claims_of(r#"{"sub": "user-ada", "token_type": "agent", "agent_name": "composer"}"#).unwrap();
        assert_eq!((agent.sub.as_str(), agent.agent_name.as_deref()), ("user-ada", Some("composer")));
        assert!(claims_of("{}").is_none() && claims("a.b").is_none() && claims("a.b.c.d").is_none());
    }
}
