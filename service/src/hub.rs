//! What a process has: the stores, what makes and checks tokens, what the operator decided.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use jsonwebtoken::{Algorithm, decode_header};
use tokio::sync::OnceCell;

use crate::auth::oidc::{Issuer, IssuerParts, IssuerSettings};
use crate::auth::{Credential, Tokens};
use crate::deadline::ANSWER_WITHIN;
use crate::observe::RequestLog;
use crate::settings::{AnonymousReads, ConfigurationError, Quotas, Settings, choice, push_creates, quota, required};
use crate::webhook_target::Reach;
use common::id::Ids;
use common::wire::WireError;
use common::wire::limits::LAMBDA_STREAM;
use store::ambient::Ambient;
use store::aws::{self, variable};
use store::{Location, Store};

/// What a process has, made once and used for all its requests.
#[derive(Clone)]
pub struct Hub {
    /// Where everything is kept.
    pub store: Arc<Store>,
    /// Makes and checks tokens: with the operator's secret, or else with the hub's own, once that is read.
    pub tokens: Arc<OnceCell<Tokens>>,
    /// What checks the tokens of users, where the operator has named an issuer of them.
    pub issuer: Option<Arc<Issuer>>,
    /// What the operator decided.
    pub settings: Settings,
    /// Where a line of each request goes.
    pub log: RequestLog,
}

impl Hub {
    /// The hub as the environment describes it: `MUSEHUB_TABLE`, `MUSEHUB_BUCKET`, and as the operator likes
    /// `ACCESS_TOKEN_SECRET` (else the hub reads its own from the table), `MUSEHUB_PUSH_TO_CREATE` (`nothing` or `off`,
    /// `public`, `private`), `MUSEHUB_IDS` (`strict`, `lenient`), `MUSEHUB_ANONYMOUS_READS` (`full`, `small`, `off`),
    /// `MUSEHUB_ANSWER_WITHIN`, seconds that an answer may take to begin, `MUSEHUB_PUBLIC_URL`, `MUSEHUB_STORAGE_URL`, the quotas `MUSEHUB_QUOTA_REPO_BYTES`, `MUSEHUB_QUOTA_USER_BYTES` and
    /// `MUSEHUB_QUOTA_USER_REPOS`, the issuer of tokens `MUSEHUB_OIDC_ISSUER` with
    /// `MUSEHUB_OIDC_AUDIENCE`, and with it `MUSEHUB_OIDC_USER_CLAIM`, `MUSEHUB_OIDC_REQUIRED_CLAIM` and `MUSEHUB_OIDC_ADMIN_CLAIM`, and `MUSEHUB_METRICS`, the
    /// CloudWatch namespace of the metrics in the log of requests. What [`aws::config`] reads
    /// says how AWS is reached.
    ///
    /// # Errors
    /// When a variable is missing or wrong.
    pub async fn from_environment() -> Result<Self, ConfigurationError> {
        Self::from_environment_at(&aws::config("DYNAMODB"), &aws::config("S3"))
    }

    /// The same, with the two services reached otherwise.
    ///
    /// # Errors
    /// When a variable is missing or wrong.
    pub fn from_environment_at(dynamodb: &SdkConfig, s3: &SdkConfig) -> Result<Self, ConfigurationError> {
        let ambient = Ambient::system();
        let location = Location { table: required("MUSEHUB_TABLE")?, bucket: required("MUSEHUB_BUCKET")? };
        let settings = Settings {
            push_to_create: choice("MUSEHUB_PUSH_TO_CREATE", "public, private or nothing", push_creates)?.flatten(),
            public_url: variable("MUSEHUB_PUBLIC_URL"),
            ids: choice("MUSEHUB_IDS", "strict or lenient", Ids::parse)?.unwrap_or_default(),
            gives_secret: variable("ACCESS_TOKEN_SECRET").is_some(),
            serves_s3: false,
            storage_url: variable("MUSEHUB_STORAGE_URL"),
            is_own_door: false,
            webhooks_reach: Reach::Public,
            most_streamed: Some(LAMBDA_STREAM),
            anonymous_reads: choice("MUSEHUB_ANONYMOUS_READS", "full, small or off", AnonymousReads::parse)?
                .unwrap_or_default(),
            quotas: Quotas {
                repo_bytes: quota("MUSEHUB_QUOTA_REPO_BYTES")?,
                user_bytes: quota("MUSEHUB_QUOTA_USER_BYTES")?,
                user_repos: quota("MUSEHUB_QUOTA_USER_REPOS")?,
            },
            answer_within: choice("MUSEHUB_ANSWER_WITHIN", "a number of seconds, from 1 to 285", seconds)?,
        };
        let issuer = IssuerSettings::of_parts(IssuerParts {
            issuer: variable("MUSEHUB_OIDC_ISSUER"),
            audience: variable("MUSEHUB_OIDC_AUDIENCE"),
            user_claim: variable("MUSEHUB_OIDC_USER_CLAIM"),
            required: variable("MUSEHUB_OIDC_REQUIRED_CLAIM"),
            admin: variable("MUSEHUB_OIDC_ADMIN_CLAIM"),
        })?;
        let issuer = issuer.map(|issuer| Arc::new(Issuer::new(issuer, ambient.clone())));
        let counts_usage = settings.quotas.user_bytes.is_some();
        let given = variable("ACCESS_TOKEN_SECRET");
        let tokens = given.map(|secret| Tokens::new(&secret, ambient.clone())).transpose()?;
        let tokens = tokens.map(|tokens| tokens.for_audience(settings.public_url.as_deref()));
        Ok(Self {
            store: Arc::new(Store::new(dynamodb, s3, location, ambient).counting_usage(counts_usage)),
            tokens: Arc::new(OnceCell::new_with(tokens)),
            issuer,
            settings,
            log: RequestLog::to_stdout(
                variable("MUSEHUB_METRICS"),
                // Lambda's own variable.
                std::env::var("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").ok().and_then(|size| size.parse().ok()),
            ),
        })
    }

    /// What makes and checks tokens. The hub's own secret is read when it is needed for the first time, so that a clone of
    /// a public repo does not pay for it.
    ///
    /// # Errors
    /// When the table does not answer; [`WireError::Unauthorized`] when it has no secret, so that no token can be good.
    pub async fn tokens(&self) -> Result<&Tokens, WireError> {
        let read = || async {
            let kept = self.store.token_secret().await?.ok_or(WireError::unauthorized(
                "this hub has no token secret yet: its operator makes one with the first token, 'musehub token --table'",
            ))?;
            let tokens = Tokens::new(&kept, self.store.ambient().clone()).map_err(WireError::internal)?;
            Ok(tokens.for_audience(self.settings.public_url.as_deref()))
        };
        self.tokens.get_or_try_init(read).await
    }

    /// What a token shows.
    ///
    /// # Errors
    /// As [`Self::tokens`], [`WireError::Unauthorized`] for a token that is not good, and [`WireError::IssuerAway`].
    pub async fn verify(&self, token: &str) -> Result<Credential, WireError> {
        let Some(issuer) = &self.issuer else {
            return self.tokens().await?.verify(token);
        };
        let header = decode_header(token).map_err(|_| WireError::unauthorized("the token is not one of this hub's"))?;
        // Each side checks that the token is signed under what its keys are for, so a wrong word here leads to a refusal.
        if header.alg != Algorithm::HS256 {
            return issuer.verify(token, &header).await;
        }
        let credential = self.tokens().await?.verify(token)?;
        if !credential.is_minted() || !credential.says().is_some_and(|user| issuer.has_user(&user.id)) {
            let issuer = issuer.name();
            return Err(WireError::unauthorized(format!(
                "this hub's users have tokens of {issuer}, and this is none, nor one that such a user has minted"
            )));
        }
        Ok(credential)
    }

    /// Whether this process checks tokens with the secret that the table keeps: `ok`, or what else it does. A process
    /// that runs goes on with the secret that it has read.
    ///
    /// # Errors
    /// When a token cannot be made.
    pub async fn check_secret(&self, kept: Option<&str>) -> Result<&'static str, WireError> {
        if self.settings.gives_secret {
            return Ok("ok");
        }
        let Some(kept) = kept else {
            return Ok("the table has none any more, and this process goes on with the one that it had");
        };
        let tokens = Tokens::new(kept, self.store.ambient().clone()).map_err(WireError::internal)?;
        let token = tokens.mint("check", Duration::from_secs(60))?;
        Ok(match self.tokens().await?.verify(&token) {
            Ok(_) => "ok",
            Err(_) => "this process goes on with another than the table's, which was rotated since it started",
        })
    }
}

/// How long an answer may take to begin, as an operator says it.
fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_secs).filter(|time| !time.is_zero() && *time <= ANSWER_WITHIN)
}
