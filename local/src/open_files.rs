//! How many files the process may have open, connections among them, and what they are for.
//!
//! Most systems begin a process with 1,024 and let it have many more. The files are divided at the start, so that
//! clients cannot take what the stores need. Clients beyond their part are refused, and the others are served.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as the hub has a use for.
const WANTED: u64 = 32_768;
/// What is open beside connections: the database, the listeners, the runtime, connections that are being refused, deliveries to
/// webhooks, upkeep.
const ASIDE: usize = 160;
/// What a call to an embedded store holds at most: its connection has two ends, each of the two stores keeps that one open for
/// another call, and the S3 opens a file.
const OF_A_CALL: usize = 5;
/// Connections of clients at the same time. Each has some buffers.
const MAX_CONNECTIONS: usize = 4_096;
/// Calls to the embedded stores at the same time.
const MAX_CALLS: usize = 256;
/// With fewer than these a hub that is busy refuses some clients.
const FEW_CONNECTIONS: usize = 500;
/// With fewer than these a hub is of no use.
const LEAST_CONNECTIONS: usize = 16;
const LEAST_CALLS: usize = 8;

/// What the open files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Connections of clients.
    pub(crate) connections: usize,
    /// Of these, those that move bytes of the storage and so hold a file each.
    pub(crate) transfers: usize,
    /// Calls to the embedded stores.
    pub(crate) calls: usize,
}

impl Plan {
    /// Raises the limit as far as the system lets it be, and divides what there is.
    pub(crate) fn make() -> Self {
        let limit = usize::try_from(raise()).unwrap_or(usize::MAX);
        let plan = Self::of(limit);
        if plan.connections < FEW_CONNECTIONS {
            tracing::warn!(
                limit,
                connections = plan.connections,
                "the system lets this process open few files, so few connections are taken: raise its limit (ulimit -n)"
            );
        }
        plan
    }

    fn of(limit: usize) -> Self {
        let calls = (limit / 32).clamp(LEAST_CALLS, MAX_CALLS);
        let rest = limit.saturating_sub(ASIDE).saturating_sub(calls * OF_A_CALL);
        let connections = (rest / 5 * 4).clamp(LEAST_CONNECTIONS, MAX_CONNECTIONS);
        Self { connections, transfers: connections / 4, calls }
    }
}

/// The limit, raised if it is low and the system allows it.
fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(current) = current.filter(|current| *current < WANTED) else {
        return current.unwrap_or(u64::MAX);
    };
    let raised = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(error) => {
            tracing::warn!(%error, current, "the limit of open files was not raised");
            current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_limit_is_what_is_planned_stays_below_it() {
        for limit in [256, 512, 1_024, 4_096, 20_000, 32_768, 1 << 20, usize::MAX] {
            let Plan { connections, transfers, calls } = Plan::of(limit);
            assert!(connections + transfers + calls * OF_A_CALL + ASIDE <= limit, "{limit}");
            assert!(connections >= LEAST_CONNECTIONS && transfers > 0 && calls > 0, "{limit}");
        }
        assert_eq!(Plan::of(1_024), Plan { connections: 560, transfers: 140, calls: 32 });
        assert_eq!(Plan::of(WANTED as usize).connections, MAX_CONNECTIONS);
    }
}
