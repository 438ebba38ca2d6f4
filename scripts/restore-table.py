"""Makes a hub's table what a restored copy of it says. docs/operate.md says when, and what has to be done around it.

    restore-table.py --from <restored table> --table <table> --bucket <bucket> [--repo <owner>/<slug>] [--write]

DynamoDB restores a table under a new name, without its time to live, its stream, its protection, its alarms and the rights
that functions have to it. So the copy is compared with the table that the stack has, and the difference is written there.
Without --write it is only counted. Breaking off does no harm: run it again.

Left as they are: the token secret, so that one which was given up does not come back, and what expires by itself. Packs that
the copy names and the bucket has not are restored from the bucket's versions, or nothing is written.

Nothing may write to the table meanwhile, and no process that has seen the later state may go on afterwards. It needs boto3,
which the SAM CLI brings, and reaches AWS as the AWS CLI does; AWS_REGION names the region.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import boto3
from botocore.exceptions import ClientError

Item = dict[str, Any]
Key = tuple[str, str]

# What DynamoDB takes in one BatchWriteItem.
BATCH = 25
# A table that takes nothing this many times in a row is not asked again: that is some two minutes.
ATTEMPTS = 12

# boto3 by itself knows AWS_DEFAULT_REGION only.
SESSION = boto3.session.Session(region_name=os.environ.get("AWS_REGION"))


def key_of(item: Item) -> Key:
    return item["pk"]["S"], item["sk"]["S"]


def is_restored(item: Item) -> bool:
    return "expires_at" not in item and key_of(item)[0] not in ("SECRET", "PUBLIC")


def digest(item: Item) -> bytes:
    def plain(value: Any) -> Any:
        return value.hex() if isinstance(value, bytes) else str(value)

    return hashlib.sha256(json.dumps(item, sort_keys=True, default=plain).encode()).digest()


class Tables:
    """Two tables with the same keys."""

    def __init__(self, repo: str | None) -> None:
        self.dynamodb = SESSION.client("dynamodb")
        self.repo = repo

    def get(self, table: str, pk: str, sk: str) -> Item | None:
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        return self.dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")

    def find(self, table: str, repo: str) -> str:
        """The partition of a repository."""
        name = self.get(table, f"NAME#{repo}", "NAME")
        if name is None:
            sys.exit(f"restore-table: {table} has no repository {repo}")
        return f"REPO#{name['repo_id']['S']}"

    def items(self, table: str, partition: str | None) -> Iterator[Item]:
        """All items, or those of one partition."""
        if partition is None:
            pages = self.dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        else:
            pages = self.dynamodb.get_paginator("query").paginate(
                TableName=table,
                ConsistentRead=True,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": partition}},
            )
        for page in pages:
            yield from filter(is_restored, page["Items"])

    def difference(self, source: str, target: str) -> tuple[list[Item], list[Key]]:
        """What has to be put into the target, and deleted from it."""
        partition = self.find(source, self.repo) if self.repo else None
        if self.repo and partition != self.find(target, self.repo):
            sys.exit(f"restore-table: {self.repo} is another repository in {target}: restore the whole table")
        left = {key_of(item): digest(item) for item in self.items(target, partition)}
        puts = [item for item in self.items(source, partition) if left.pop(key_of(item), None) != digest(item)]
        return puts, list(left)

    def write(self, table: str, requests: Iterable[Item]) -> None:
        waiting = list(requests)
        attempt = 0
        while waiting:
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            answer = self.dynamodb.batch_write_item(RequestItems={table: batch})
            refused = answer.get("UnprocessedItems", {}).get(table, [])
            if refused:
                attempt += 1
                if attempt == ATTEMPTS:
                    sys.exit("restore-table: the table takes no more for now; run this again")
                time.sleep(min(30, 2**attempt / 10))
            else:
                attempt = 0
            waiting = refused + waiting


class Bucket:
    """The bucket, where what was deleted is kept for a while as an older version."""

    def __init__(self, name: str) -> None:
        self.s3 = SESSION.client("s3")
        self.name = name

    def has(self, key: str, size: int) -> bool:
        try:
            return self.s3.head_object(Bucket=self.name, Key=key)["ContentLength"] == size
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise

    def undelete(self, prefix: str) -> None:
        """Takes the delete markers away from whatever has this prefix."""
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=self.name, Prefix=prefix):
            for marker in page.get("DeleteMarkers", []):
                if marker["IsLatest"]:
                    self.s3.delete_object(Bucket=self.name, Key=marker["Key"], VersionId=marker["VersionId"])


def pack_of(item: Item) -> tuple[str, str, int] | None:
    """The repository, the name and the size of a pack, if the item is one."""
    pk, sk = key_of(item)
    if not (pk.startswith("REPO#") and sk.startswith("PACK#")):
        return None
    return pk.removeprefix("REPO#"), sk.removeprefix("PACK#"), int(item["size"]["N"])


def pool_of(repo: str) -> str:
    """What the keys of the files of a repository and of all its forks begin with."""
    return repo.split("-")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a hub's table what a restored copy of it says.")
    parser.add_argument("--from", dest="source", required=True, metavar="TABLE", help="the restored copy")
    parser.add_argument("--table", required=True, help="the hub's table")
    parser.add_argument("--bucket", required=True, help="the hub's bucket")
    parser.add_argument("--repo", metavar="OWNER/SLUG", help="restore this repository only")
    parser.add_argument("--write", action="store_true", help="do it, and not only say what there is to do")
    arguments = parser.parse_args()

    tables, bucket = Tables(arguments.repo), Bucket(arguments.bucket)
    puts, deletes = tables.difference(arguments.source, arguments.table)
    print(f"{len(puts)} items to put back, {len(deletes)} to delete")

    packs = [pack for pack in map(pack_of, puts) if pack is not None]
    missing = [pack for pack in packs if not bucket.has(f"packs/{pool_of(pack[0])}/{pack[1]}.pack", pack[2])]
    print(f"{len(packs)} packs to put back, {len(missing)} of them deleted from the bucket")
    if not arguments.write:
        return
    for pool in {pool_of(repo) for repo, _, _ in packs}:
        # Large objects may lie under the name of another pack than the one that lists them.
        bucket.undelete(f"objects/{pool}/")
    for repo, pack, size in missing:
        key = f"packs/{pool_of(repo)}/{pack}.pack"
        bucket.undelete(key)
        if not bucket.has(key, size):
            sys.exit(f"restore-table: {key} is gone for good: nothing was written to {arguments.table}")
    tables.write(arguments.table, [{"PutRequest": {"Item": item}} for item in puts])
    keys = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in deletes]
    tables.write(arguments.table, [{"DeleteRequest": {"Key": key}} for key in keys])
    print("written")


if __name__ == "__main__":
    main()
