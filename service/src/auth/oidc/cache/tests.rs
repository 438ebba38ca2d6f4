use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::keys::Found;
use super::*;
use futures_util::future::{join, join_all};
use jsonwebtoken::{Algorithm, Header};
use proptest::prelude::*;
use serde_json::json;

const PAUSE: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// An issuer whose attempts are counted, and take a second.
struct StandIn {
    cache: KeyCache,
    attempts: AtomicUsize,
}

impl StandIn {
    fn new() -> Self {
        Self::pausing(PAUSE)
    }

    fn pausing(pause: Duration) -> Self {
        let ambient = Ambient::simulated(1, Timestamp::constant(1_000, 0), tokio::time::Instant::now());
        Self { cache: KeyCache::new(pause, ambient), attempts: AtomicUsize::new(0) }
    }

    /// Asks for the key `id`, of an issuer that has the key `published`, or does not answer.
    async fn ask_for(&self, id: &str, published: Option<&str>, fresh_for: Option<Duration>) -> Result<bool, String> {
        let fetch = || async {
            self.attempts.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            published.map(|id| (set(id), fresh_for)).ok_or_else(|| "it is away".to_owned())
        };
        let keys = self.cache.keys(|keys| has(keys, id), fetch).await;
        keys.map(|keys| has(&keys, id))
    }

    async fn ask(&self, id: &str, published: Option<&str>) -> Result<bool, String> {
        self.ask_for(id, published, None).await
    }

    /// Asks for other keys than these, of an issuer that has the key `published`.
    async fn ask_for_others(&self, than: &Arc<KeySet>, published: Option<&str>) -> Result<Arc<KeySet>, String> {
        let fetch = || async {
            self.attempts.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            published.map(|id| (set(id), None)).ok_or_else(|| "it is away".to_owned())
        };
        self.cache.keys(|keys| !std::ptr::eq(keys, &**than), fetch).await
    }

    fn attempts(&self) -> usize {
        self.attempts.load(Ordering::Relaxed)
    }
}

fn set(id: &str) -> KeySet {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": "A".repeat(43)});
    KeySet::parse(json!({"keys": [key]}).to_string().as_bytes()).unwrap()
}

fn has(keys: &KeySet, id: &str) -> bool {
    let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::EdDSA) };
    matches!(keys.find(&header), Found::One(_))
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_together_share_one_attempt() {
    // Also where the attempt takes longer than the pause.
    for issuer in [StandIn::new(), StandIn::pausing(Duration::ZERO)] {
        let answers = join_all((0..100).map(|_| issuer.ask("a", Some("a")))).await;
        assert!(answers.into_iter().all(|answer| answer == Ok(true)));
        assert_eq!(issuer.attempts(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_together_share_a_failure_too() {
    let issuer = StandIn::new();
    let answers = join_all((0..100).map(|_| issuer.ask("a", None))).await;
    assert!(answers.into_iter().all(|answer| answer == Err("it is away".to_owned())));
    assert_eq!(issuer.attempts(), 1);
    tokio::time::advance(PAUSE).await;
    assert_eq!(issuer.ask("a", Some("a")).await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn keys_are_fresh_for_as_long_as_the_issuer_says_within_bounds() {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    for (said, expected) in [
        (None, HOUR),
        (Some(Duration::ZERO), minutes(5)),
        (Some(minutes(4)), minutes(5)),
        (Some(minutes(20)), minutes(20)),
        (Some(HOUR * 24), HOUR),
        (Some(Duration::MAX), HOUR),
    ] {
        let issuer = StandIn::new();
        assert_eq!(issuer.ask_for("a", Some("a"), said).await, Ok(true));
        tokio::time::advance(expected - Duration::from_millis(1)).await;
        assert_eq!(issuer.ask("a", None).await, Ok(true));
        assert_eq!(issuer.attempts(), 1, "{said:?}");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(issuer.ask("a", Some("a")).await, Ok(true));
        assert_eq!(issuer.attempts(), 2, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_when_a_token_names_it_and_one_that_went_is_not() {
    let issuer = StandIn::new();
    assert_eq!(issuer.ask("a", Some("a")).await, Ok(true));
    tokio::time::advance(PAUSE).await;
    assert_eq!(issuer.ask("b", Some("b")).await, Ok(true));
    assert_eq!(issuer.ask("a", Some("b")).await, Ok(false));
    assert_eq!(issuer.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_is_one_attempt_in_each_pause_and_stops_nothing() {
    let issuer = StandIn::new();
    assert_eq!(issuer.ask("a", Some("a")).await, Ok(true));
    for round in 0..20 {
        tokio::time::advance(PAUSE / 2).await;
        let began = tokio::time::Instant::now();
        let flood = join_all((0..50).map(|number| {
            let issuer = &issuer;
            async move { issuer.ask(&format!("{round}-{number}"), Some("a")).await }
        }));
        let good = async {
            let good = issuer.ask("a", Some("a")).await;
            (good, began.elapsed())
        };
        let (flood, good) = join(flood, good).await;
        assert!(flood.into_iter().all(|answer| answer == Ok(false)));
        assert_eq!(good, (Ok(true), Duration::ZERO), "it waits for nothing");
    }
    // The one of the beginning, and then one in ten seconds of a hundred and of those that the attempts took.
    assert!(issuer.attempts() <= 12, "{}", issuer.attempts());
    assert!(issuer.attempts() >= 9, "{}", issuer.attempts());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_badly_signed_tokens_is_one_attempt_in_each_pause_and_stops_nothing() {
    let issuer = StandIn::new();
    assert_eq!(issuer.ask("a", Some("a")).await, Ok(true));
    for _ in 0..20 {
        tokio::time::advance(PAUSE / 2).await;
        let (keys, began) = (issuer.cache.look(|_| true).0.unwrap(), tokio::time::Instant::now());
        let flood = join_all((0..50).map(|_| issuer.ask_for_others(&keys, Some("a"))));
        let good = async { (issuer.ask("a", Some("a")).await, began.elapsed()) };
        let (flood, good) = join(flood, good).await;
        assert!(flood.into_iter().all(|answer| answer.is_ok()));
        assert_eq!(good, (Ok(true), Duration::ZERO), "it waits for nothing");
    }
    assert!((9..=12).contains(&issuer.attempts()), "{}", issuer.attempts());
}

#[tokio::test(start_paused = true)]
async fn while_the_issuer_is_away_and_keys_serve_the_pause_grows() {
    let issuer = StandIn::new();
    assert_eq!(issuer.ask("a", Some("a")).await, Ok(true));
    tokio::time::advance(HOUR).await;
    let (mut pauses, mut last) = (Vec::new(), None);
    while pauses.len() < 8 {
        let (before, began) = (issuer.attempts(), tokio::time::Instant::now());
        assert_eq!(issuer.ask("a", None).await, Ok(true));
        if issuer.attempts() > before {
            pauses.extend(last.replace(began).map(|last| (began - last).as_secs()));
        } else {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300]);
    // A token that they do not do for has it asked after the short one,
    tokio::time::advance(PAUSE).await;
    assert_eq!(issuer.ask("b", Some("b")).await, Ok(true));
    // and once it has answered the pause is the short one again.
    tokio::time::advance(HOUR).await;
    for _ in 0..2 {
        let before = issuer.attempts();
        assert_eq!(issuer.ask("b", None).await, Ok(true));
        assert_eq!(issuer.attempts(), before + 1);
        tokio::time::advance(PAUSE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_issuer_is_away_the_keys_of_before_serve_for_a_day() {
    let issuer = StandIn::new();
    assert_eq!(issuer.ask("a", Some("a")).await, Ok(true));
    let read = tokio::time::Instant::now();
    loop {
        tokio::time::advance(Duration::from_secs(5 * 60)).await;
        // An attempt takes a second.
        let age = read.elapsed() + Duration::from_secs(1);
        if age >= HOUR * 24 {
            break;
        }
        assert_eq!(issuer.ask("a", None).await, Ok(true), "{age:?}");
    }
    assert_eq!(issuer.ask("a", None).await, Err("it is away".to_owned()));
    tokio::time::advance(PAUSE).await;
    assert_eq!(issuer.ask("a", Some("a")).await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_known_is_not_refused_while_the_issuer_is_away() {
    let issuer = StandIn::new();
    assert_eq!(issuer.ask("a", Some("a")).await, Ok(true));
    assert_eq!(issuer.ask("b", None).await, Ok(false), "it has just said so");
    tokio::time::advance(PAUSE).await;
    assert_eq!(issuer.ask("b", None).await, Err("it is away".to_owned()));
    assert_eq!(issuer.ask("b", Some("b")).await, Err("it is away".to_owned()), "and it is not asked at once");
    assert_eq!(issuer.ask("a", None).await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_not_fresh_serve_all_but_the_one_who_reads_them_again() {
    let issuer = StandIn::new();
    assert_eq!(issuer.ask("a", Some("a")).await, Ok(true));
    tokio::time::advance(HOUR).await;
    let began = tokio::time::Instant::now();
    let waited = join_all((0..10).map(|_| async {
        assert_eq!(issuer.ask("a", Some("a")).await, Ok(true));
        began.elapsed()
    }))
    .await;
    assert_eq!(waited.iter().filter(|waited| !waited.is_zero()).count(), 1);
    assert_eq!(issuer.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_request_ended_counts() {
    let issuer = StandIn::new();
    let short = tokio::time::timeout(Duration::from_millis(10), issuer.ask("a", Some("a"))).await;
    assert!(short.is_err());
    assert_eq!(issuer.ask("a", Some("a")).await, Err("the attempt was given up".to_owned()));
    assert_eq!(issuer.attempts(), 1);
    tokio::time::advance(PAUSE).await;
    assert_eq!(issuer.ask("a", Some("a")).await, Ok(true));
}

proptest! {
    #[test]
    fn attempts_are_a_pause_apart_and_answers_are_what_was_read(
        steps in proptest::collection::vec((0..40_000_u64, 0..3_u8, proptest::option::weighted(0.7, 0..3_u8)), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let issuer = StandIn::new();
            let mut newest = None;
            let mut last: Option<tokio::time::Instant> = None;
            for (pause, asked, published) in steps {
                tokio::time::advance(Duration::from_secs(pause % 4_000)).await;
                let (asked, published) = (asked.to_string(), published.map(|key| key.to_string()));
                let (before, began) = (issuer.attempts(), tokio::time::Instant::now());
                let answer = issuer.ask(&asked, published.as_deref()).await;
                if issuer.attempts() > before {
                    prop_assert_eq!(issuer.attempts(), before + 1);
                    prop_assert!(last.is_none_or(|last| began - last >= PAUSE));
                    last = Some(began);
                    if let Some(published) = published {
                        newest = Some((published, tokio::time::Instant::now()));
                    }
                }
                let known = newest.as_ref().filter(|(key, since)| *key == asked && since.elapsed() < MOST_STALE);
                match answer {
                    Ok(is_there) => prop_assert_eq!(is_there, known.is_some()),
                    Err(_) => prop_assert!(known.is_none()),
                }
            }
            Ok(())
        })?;
    }
}
