"""Makes something to ask a running hub about, and prints it as JSON: `state.py URL TOKEN OTHER_TOKEN`.

TOKEN is that of the first user, whose handle is `dev`; OTHER_TOKEN that of a user without a handle.
"""

import base64
import hashlib
import json
import sys
import urllib.error
import urllib.request

RELEASES_TO_RETRACT = 40
# A repository has at most 20.
WEBHOOKS_TO_DELETE = 15
# And a user 100 tokens, a repository 100 links, of which the requests make some.
TO_REVOKE = 30


def joined_hash(*parts: str) -> str:
    """The SHA-256 of the parts, joined by zero bytes."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def object_id(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def snapshot_id(manifest: dict[str, str]) -> str:
    return joined_hash(*sorted(f"{path}\0{content}" for path, content in manifest.items()))


def commit_id(parents: list[str], snapshot: str, message: str, committed_at: str) -> str:
    return joined_hash("\0".join(sorted(parents)), snapshot, message, committed_at)


def history(name: str, length: int) -> dict:
    """A bundle: commits in a row, each with another version of one file, and an empty file."""
    bundle = {"commits": [], "snapshots": [], "objects": [{"object_id": object_id(b""), "content_b64": "", "path": "empty"}]}
    parents: list[str] = []
    for number in range(length):
        content = f"{name}, version {number}\n".encode() * 20
        manifest = {"song.abc": object_id(content), "empty": object_id(b"")}
        snapshot = snapshot_id(manifest)
        message, at = f"Write version {number}", f"2026-01-{number + 1:02}T00:00:00+00:00"
        commit = commit_id(parents, snapshot, message, at)
        bundle["objects"].append({"object_id": object_id(content), "content_b64": base64.b64encode(content).decode(), "path": "song.abc"})
        bundle["snapshots"].append({"snapshot_id": snapshot, "manifest": manifest, "created_at": at})
        bundle["commits"].append({
            "commit_id": commit, "branch": "main", "snapshot_id": snapshot, "message": message, "committed_at": at,
            "parent_commit_id": parents[0] if parents else None, "author": "dev", "metadata": {"key": "value"},
        })
        parents = [commit]
    return bundle


class Hub:
    """Asks one hub."""

    def __init__(self, url: str) -> None:
        self.url = url
        # Whatever proxy the environment names, the hub is on this machine.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, method: str, path: str, token: str, body: bytes | dict | None = None, **headers: str) -> dict:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with self.opener.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            sys.exit(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}")

    def put(self, url: str, body: bytes) -> None:
        # As clients do: no header but what every request has.
        with self.opener.open(urllib.request.Request(url, body, method="PUT"), timeout=30):
            pass


def make(url: str, owner: str, other: str) -> dict:
    hub = Hub(url)
    hub.ask("POST", "/api/identities", other, {"handle": "ada"})
    hub.ask("POST", "/api/repos", owner, {"name": "Secret", "is_private": True})
    hub.ask("POST", "/api/repos", owner, {"name": "Empty"})
    hub.ask("POST", "/api/repos", owner, {"name": "Gone"})

    bundle = history("song", 8)
    commits = [commit["commit_id"] for commit in bundle["commits"]]
    for repo, token in (("/dev/song", owner), ("/dev/secret", owner), ("/ada/tune", other)):
        hub.ask("POST", repo + "/push", token, {"bundle": bundle, "branch": "main", "force": False})
    hub.ask("POST", "/dev/song/push", owner, {
        "bundle": {"commits": [], "branch_heads": {"old": commits[2]}}, "branch": "old", "force": False})
    staged = b"staged"
    hub.ask("POST", "/dev/song/push/objects", owner, {
        "objects": [{"object_id": object_id(staged), "content_b64": base64.b64encode(staged).decode()}]})

    hub.ask("POST", "/dev/song/tags", owner, {"tags": [{"tag": f"tag/{n}", "commit_id": id} for n, id in enumerate(commits)]})
    releases = [f"v0.{number}" for number in range(RELEASES_TO_RETRACT)]
    # Tags of the same names, to be deleted.
    hub.ask("POST", "/dev/song/tags", owner, {"tags": [{"tag": tag, "commit_id": commits[0]} for tag in releases]})
    for number, tag in enumerate(["kept", "draft", *releases]):
        hub.ask("POST", "/dev/song/releases", owner, {
            "tag": tag, "commit_id": commits[number % len(commits)], "is_draft": tag == "draft",
            "channel": ["stable", "beta", "alpha", "nightly"][number % 4]})

    made = [
        hub.ask("POST", "/api/repos/dev/song/webhooks", owner, {"url": f"https://example.com/{number}"})
        for number in range(WEBHOOKS_TO_DELETE)
    ]

    # One push comes by reference, and one object through a presigned URL.
    upload = hub.ask("POST", "/dev/song/uploads", owner, b"")
    hub.put(upload["url"], json.dumps({"bundle": history("by reference", 1), "branch": "uploaded", "force": False}).encode())
    hub.ask("POST", "/dev/song/push", owner, b"", Muse_Body_Upload=upload["upload_id"])
    large = b"large" * 20_000
    presigned = hub.ask("POST", "/dev/song/presign", owner, {"object_ids": [object_id(large)], "direction": "put"})
    hub.put(presigned["presigned"][object_id(large)], large)
    assert hub.ask("POST", "/dev/song/filter-objects", owner, {"object_ids": [object_id(large)]})["missing"] == []
    manifest = {"large": object_id(large)}
    commit = commit_id([commits[-1]], snapshot_id(manifest), "Add a large file", "2026-02-01")
    hub.ask("POST", "/dev/song/push", owner, {
        "bundle": {
            "commits": [{
                "commit_id": commit, "parent_commit_id": commits[-1], "snapshot_id": snapshot_id(manifest),
                "message": "Add a large file", "committed_at": "2026-02-01"}],
            "snapshots": [{"snapshot_id": snapshot_id(manifest), "manifest": manifest}],
        },
        "branch": "main"})

    repos = {repo: hub.ask("GET", repo + "/refs", owner)["repo_id"] for repo in ("/dev/song", "/dev/secret", "/ada/tune")}
    return {
        "repos": repos,
        "commits": [*commits, commit],
        "snapshots": [snapshot["snapshot_id"] for snapshot in bundle["snapshots"]],
        "objects": [object_["object_id"] for object_ in bundle["objects"]] + [object_id(large), object_id(staged)],
        "releases": releases,
        "webhooks": [hook["id"] for hook in made],
        "key": hub.ask("POST", "/api/repos/dev/song/links", owner, {})["clone_url"].split("/-/")[1].split("/")[0],
        "links": [hub.ask("POST", "/api/repos/dev/song/links", owner, {})["id"] for _ in range(TO_REVOKE)],
        "tokens": [hub.ask("POST", "/api/tokens", owner, {})["id"] for _ in range(TO_REVOKE)],
    }


if __name__ == "__main__":
    json.dump(make(*sys.argv[1:4]), sys.stdout, indent=1)
