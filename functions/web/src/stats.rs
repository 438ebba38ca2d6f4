//! What a repository is made of, how it grew, and what a clone of it costs.

use common::wire::WireError;
use jiff::Timestamp;
use lambda_http::Response;
use pages::page::stats::{CloneCost, GrowthPoint, PackLine, StatsPage};
use service::AnswerBody;
use store::repo::Load;
use store::upkeep::stats::PAGES_OF_A_REQUEST;

use crate::Reader;
use crate::respond::{Version, page};

/// `/{owner}/{slug}/stats`.
pub(crate) async fn stats(reader: &Reader<'_>) -> Result<Response<AnswerBody>, WireError> {
    let opened = reader.open(Load::HISTORY).await?;
    let mut version = Version::of_repo(reader, &opened);
    for (pack, _) in &opened.repo.packs {
        version.add(&pack.to_string());
    }
    page(reader, version, || async {
        let stats = reader.hub.store.stats(&opened.repo, PAGES_OF_A_REQUEST).await?;
        let mut growth = Vec::new();
        let (mut commits, mut bytes) = (0, 0);
        let mut packs = Vec::new();
        // An index holds no records of its own.
        for (id, summary) in opened.repo.packs.iter().filter(|(_, summary)| !summary.is_index()) {
            let written_at = i64::try_from(id.timestamp_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
            commits += summary.commits;
            bytes += summary.size;
            growth.extend(written_at.map(|at| GrowthPoint { at, commits, bytes }));
            packs.push(PackLine {
                id: id.to_string(),
                bytes: summary.size,
                records: summary.commits + summary.snapshots + summary.objects,
                merged: summary.merged,
                is_condemned: summary.condemned_at.is_some(),
                written_at,
            });
        }
        let warm = &stats.clone.warm;
        let page = StatsPage {
            hub: reader.frame.clone(),
            repo: opened.frame.clone(),
            commits: stats.commits,
            snapshots: stats.snapshots,
            objects: stats.objects,
            raw_bytes: stats.raw_bytes,
            stored_bytes: stats.stored_bytes,
            pack_count: packs.len() as u64,
            packs,
            large_objects: Some((stats.large.count, stats.large.bytes)),
            garbage_bytes: stats.garbage.map(|garbage| garbage.bytes),
            growth,
            clone: Some(CloneCost {
                answer_bytes: stats.clone.answer.msgpack_bytes,
                client_limit: stats.clone.answer.stock_bytes,
                s3_gets: warm.s3_gets,
                s3_bytes: warm.s3_bytes,
                seconds: warm.seconds,
                dollars: [
                    ("Requests, storage, time and traffic", warm.dollars),
                    ("", 0.0),
                    ("", 0.0),
                    ("", 0.0),
                    ("", 0.0),
                ],
            }),
        };
        Ok(page)
    })
    .await
}
