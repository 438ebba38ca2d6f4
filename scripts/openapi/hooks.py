"""What schemathesis needs to know about the hub: msgpack, and which of the things it asks about are there.

Data that are drawn from the document alone never get far, because ids are hashes of what they name. So most requests
are sent to repositories that are there, name commits and objects that are there, and have their ids computed. All
of it follows from the drawn request alone, so that every run is the same.
"""

import base64
import json
import os
import random
from pathlib import Path

import msgpack
import schemathesis
from hypothesis import strategies
from schemathesis.core import NOT_SET
from state import commit_id, object_id, snapshot_id

STATE = json.loads(Path(os.environ["MUSEHUB_STATE"]).read_text())
SEEN = Path(os.environ["MUSEHUB_SEEN"])
MSGPACK = "application/x-msgpack"
UPLOAD = "Muse-Body-Upload"
REPOS = [("dev", "song")] * 7 + [("dev", "secret"), ("dev", "empty"), ("ada", "tune")]
RANGES = ["bytes=0-9", "bytes=5-", "bytes=-3", "bytes=1000000-", "bytes=0-0,2-3", "bytes=9-2", "bytes=-0", "lines=1-2"]


# ---- msgpack ---------------------------------------------------------------------------------------------------------

# In a document bytes are strings; here they are those of Latin-1, one character a byte.
schemathesis.openapi.format("binary", strategies.text(strategies.characters(max_codepoint=255)))


def with_bytes(value, name=""):
    """The value with what the document calls binary as bytes."""
    if isinstance(value, dict):
        return {key: with_bytes(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [with_bytes(item, name) for item in value]
    if name == "content" and isinstance(value, str):
        return content_of(value)
    # Larger numbers have no msgpack.
    return float(value) if isinstance(value, int) and not -(2**63) <= value < 2**64 else value


def content_of(text: str) -> bytes:
    return text.encode("latin-1") if all(character <= "\xff" for character in text) else text.encode()


@schemathesis.serializer(MSGPACK)
def write_msgpack(context, value):
    return msgpack.packb(with_bytes(value), unicode_errors="surrogatepass")


@schemathesis.deserializer(MSGPACK)
def read_msgpack(context, response):
    def with_text(value):
        if isinstance(value, dict):
            return {key: with_text(item) for key, item in value.items()}
        if isinstance(value, list):
            return [with_text(item) for item in value]
        return value.decode("latin-1") if isinstance(value, bytes) else value

    return with_text(msgpack.unpackb(response.content, strict_map_key=False))


# ---- what is asked about ---------------------------------------------------------------------------------------------


@schemathesis.hook
def before_call(context, case, kwargs):
    body = None if case.body is NOT_SET else case.body
    # Of the headers, without the token and the number of the case, which are new each time.
    headers = [case.headers.get(name) for name in (UPLOAD, "Range", "If-None-Match")]
    drawn = [case.operation.label, case.path_parameters, case.query, headers, body]
    chance = random.Random(json.dumps(drawn, default=repr))
    # What is meant to be wrong stays so.
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    aim(case, chance)
    if chance.random() < 0.5:
        case.headers["Accept"] = "application/x-msgpack, application/json"
    settle_body(case)
    case.body = with_integers(case.body)
    if isinstance(case.body, dict) and chance.random() < 0.85:
        in_json = case.media_type != MSGPACK
        REPAIRS.get(operation_id(case), lambda *_: None)(case.body, chance, in_json)


@schemathesis.hook
def after_call(context, case, response):
    if case.method == case.operation.method.upper():
        with SEEN.open("a") as seen:
            print(operation_id(case), response.status_code, file=seen)


def operation_id(case) -> str:
    return case.operation.definition.raw["operationId"]


def aim(case, chance) -> None:
    """Sends the request to something that is there."""
    # Copied, because cases may share what was drawn.
    case.path_parameters, case.query, case.headers = dict(case.path_parameters), dict(case.query), case.headers.copy()
    path = case.path_parameters
    if "owner" in path and chance.random() < 0.9:
        is_deletion = operation_id(case) in ("deleteRepo", "undeleteRepo")
        # What the other requests ask about stays there.
        path["owner"], path["slug"] = ("dev", "gone") if is_deletion else chance.choice(REPOS)
    if operation_id(case) == "listRepos" and "owner" in case.query and chance.random() < 0.9:
        case.query["owner"] = chance.choice(["dev", "ada"])
    if "tag" in path:
        if chance.random() < 0.7:
            path["tag"] = chance.choice(STATE["releases"])
    if "id" in path and chance.random() < 0.7:
        kind = {"revokeLink": "links", "revokeToken": "tokens"}.get(operation_id(case), "webhooks")
        path["id"] = chance.choice(STATE[kind])
    if "key" in path and chance.random() < 0.7:
        path["key"], path["owner"], path["slug"] = STATE["key"], "dev", "song"
    if "handle" in path and chance.random() < 0.8:
        path["handle"] = "ada"
    if "object_id" in path:
        if chance.random() < 0.9:
            path["object_id"] = chance.choice(["", "sha256:"]) + chance.choice(STATE["objects"])
            case.query["repo_id"] = chance.choice([STATE["repos"]["/dev/song"]] * 6 + [*STATE["repos"].values()])
        if chance.random() < 0.6:
            case.headers["Range"] = chance.choice(RANGES)
        if chance.random() < 0.2:
            case.headers["If-None-Match"] = chance.choice(["*", f'"{path["object_id"]}"', f'W/"{path["object_id"]}", "b"'])


def settle_body(case) -> None:
    """A body is either in the request or somewhere else."""
    if all(parameter.name != UPLOAD for parameter in case.operation.headers):
        return
    if case.body is NOT_SET:
        case.headers.setdefault(UPLOAD, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
    else:
        case.headers.pop(UPLOAD, None)


def with_integers(value):
    """The value with 2 for 2.0, which JSON Schema takes for an integer and the hub, as most decoders, does not."""
    if isinstance(value, dict):
        return {key: with_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_integers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


# ---- bodies whose ids are right --------------------------------------------------------------------------------------


def known(ids: list[str], kind: str, chance) -> list[str]:
    """The ids, most of them exchanged for some that are there."""
    return [chance.choice(STATE[kind]) if chance.random() < 0.9 else id for id in ids]


def repair_objects(objects: list[dict], chance, in_json: bool) -> list[str]:
    """Gives objects their ids, and returns these."""
    for item in objects:
        if "content" in item:
            content = item["content"].encode() if in_json else content_of(item["content"])
        else:
            text = item["content_b64"]
            content = base64.b64decode(text + "=" * (-len(text) % 4))
        item["object_id"] = chance.choice(["", "sha256:"]) + object_id(content)
    return [item["object_id"] for item in objects]


def repair_push(body: dict, chance, in_json: bool) -> None:
    bundle = body["bundle"]
    objects = [*repair_objects(bundle.get("objects", []), chance, in_json), *STATE["objects"]]
    for snapshot in bundle.get("snapshots") or []:
        snapshot["manifest"] = {path: chance.choice(objects) for path in snapshot["manifest"]}
        snapshot["snapshot_id"] = snapshot_id(snapshot["manifest"])
    snapshots = [snapshot["snapshot_id"] for snapshot in bundle.get("snapshots") or []] + STATE["snapshots"]
    parents = list(STATE["commits"])
    for commit in bundle.get("commits") or []:
        commit["parent_commit_id"] = chance.choice([None, *parents])
        commit["parent2_commit_id"] = chance.choice([None, None, "", *parents])
        commit["snapshot_id"] = chance.choice([None, *snapshots * 3])
        named = [commit[name] for name in ("parent_commit_id", "parent2_commit_id") if commit[name]]
        last = commit.get("committed_at") or ""
        commit["commit_id"] = commit_id(named, commit["snapshot_id"] or "", commit.get("message") or "", last)
        parents.append(commit["commit_id"])
    if "branch" in body:
        body["branch"] = chance.choice(["main", "old", body["branch"], body["branch"]])
    for update in body.get("updates") or []:
        update["tip"] = chance.choice(parents)
        if chance.random() < 0.8:
            update.pop("expected_head", None)
    # Where the branch is by now, only the hub knows.
    if chance.random() < 0.8:
        body.pop("expected_head", None)


def repair_fetch(body: dict, chance, in_json: bool) -> None:
    # One that is not there is enough to be refused.
    if "want" in body:
        body["want"] = [chance.choice(STATE["commits"]) for _ in body["want"]]
    body["have"] = known(body.get("have", []), "commits", chance)
    if "branches" in body:
        body["branches"] = [chance.choice(["main", "old"]) for _ in body["branches"]]


def repair_ids(body: dict, chance, in_json: bool) -> None:
    body["object_ids"] = known(body["object_ids"], "objects", chance)


def repair_tags(body: dict, chance, in_json: bool) -> None:
    for tag in body["tags"]:
        tag["commit_id"] = chance.choice(STATE["commits"])


def repair_release(body: dict, chance, in_json: bool) -> None:
    body["commit_id"] = chance.choice(STATE["commits"])


REPAIRS = {
    "push": repair_push,
    "pushObjects": lambda body, *rest: repair_objects(body["objects"], *rest),
    "fetch": repair_fetch,
    "negotiate": repair_fetch,
    "filterObjects": repair_ids,
    "presign": repair_ids,
    "putTags": repair_tags,
    "createRelease": repair_release,
}
