"""Starts functions as Lambda does, and prints what that takes. scripts/measure-functions.sh builds them and says more.

    measure-functions.py [--warn] TARGET FUNCTION...

TARGET is cargo's target folder, with lambda/<function>/bootstrap and debug/musehub in it. With --warn a zip that is too large is
only a warning, in the form that GitHub shows.
"""

import base64
import contextlib
import hashlib
import http.server
import io
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
import zipfile

ZIP_MARK = 3_600_000  # bytes
# Templates, Markdown and the tables of HTML are as much again as half the SDK, and no client waits for pages.
ZIP_MARK_OF_PAGES = 4_000_000  # bytes
POLL_MARK = 15  # milliseconds
STARTS = 10  # of each function: the fastest counts, because whatever else the machine does only makes one slower
PATIENCE = 30  # seconds, for anything
LONGEST = 900  # seconds that Lambda gives a function at most, which compact has
SECRET = "a-secret-of-this-check-and-of-nothing-else"


class Broken(Exception):
    """Something does not do what it is asked to."""


class RuntimeApi(http.server.ThreadingHTTPServer):
    """Lambda's runtime API for one process, which gets these events one after the other.

    https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
    """

    daemon_threads = True

    def __init__(self, events):
        super().__init__(("127.0.0.1", 0), Runtime)
        self.events = [json.dumps(event).encode() for event in events]
        self.given = iter(self.events)
        self.is_over = threading.Event()
        self.is_answered = threading.Event()
        self.polled_at = self.failure = None
        self.given_at, self.answered_at, self.statuses = [], [], []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A process that is killed cuts its connections: no reason to print anything."""

    def stop(self):
        self.is_over.set()
        self.shutdown()
        self.server_close()


class Runtime(http.server.BaseHTTPRequestHandler):
    """A connection of the process to its runtime API."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # The head and the event in one packet.
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_GET(self):  # noqa: N802
        polled_at = time.perf_counter()
        api = self.server
        if self.path != "/2018-06-01/runtime/invocation/next":
            self.send_error(404)
            return
        event = next(api.given, None)
        if event is None:
            # On Lambda the process is frozen here until there is another event. There is none.
            api.is_over.wait()
            self.close_connection = True
            return
        api.polled_at = api.polled_at or polled_at
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(event)))
        self.send_header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + LONGEST) * 1000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:f")
        self.end_headers()
        self.wfile.write(event)
        api.given_at.append(time.perf_counter())

    def do_POST(self):  # noqa: N802
        api = self.server
        body = self.body()
        try:
            if not self.path.endswith("/response"):
                raise Broken(f"{self.path}: {body.decode(errors='replace')}")
            api.statuses.append(status_of(body, self.headers.get("Lambda-Runtime-Function-Response-Mode")))
        except Broken as failure:
            api.failure = str(failure)
        api.answered_at.append(time.perf_counter())
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if api.failure or len(api.answered_at) == len(api.events):
            api.is_answered.set()

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        # Trailers are for answers that fail on the way, which a status shows here or else nothing does.
        while self.rfile.readline().strip():
            pass
        return bytes(body)


def status_of(body, mode):
    """The status of an answer: streamed ones begin with their head as JSON and eight zero bytes."""
    head = body.partition(bytes(8))[0] if mode == "streaming" else body
    try:
        answer = json.loads(head)
        # That of a function which the stream wakes says what failed.
        return 200 if answer == {"batchItemFailures": []} else answer["statusCode"]
    except (ValueError, KeyError, TypeError):
        raise Broken(f"no answer of a proxy integration: {body[:200]!r}") from None


def start(binary, events, environment):
    """One start of a function: milliseconds to its first poll, and from each event to its answer; statuses; peak memory."""
    api = RuntimeApi(events)
    with tempfile.TemporaryFile() as log:
        environment = environment | {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}"}
        started_at = time.perf_counter()
        process = subprocess.Popen([binary], env=environment, stdout=log, stderr=log, close_fds=False)
        try:
            while not api.is_answered.wait(0.05):
                if process.poll() is not None or time.perf_counter() > started_at + PATIENCE:
                    api.failure = "it ended" if process.returncode is not None else f"no answer in {PATIENCE} s"
                    break
            if api.failure or max(api.statuses) >= 500:
                log.seek(0)
                raise Broken(f"{binary}: {api.failure or api.statuses}\n{log.read().decode(errors='replace')}")
            peak = re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{process.pid}/status").read_text())[1]
        finally:
            process.kill()
            process.wait()
            api.stop()
    to_poll = (api.polled_at - started_at) * 1000
    to_answer = [(answered - given) * 1000 for given, answered in zip(api.given_at, api.answered_at, strict=True)]
    return to_poll, to_answer, api.statuses, int(peak) * 1024


def event(method, path, body=None, token=None, **parameters):
    """What API Gateway makes of a request for a function of a REST API.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    path, _, query = path.partition("?")
    headers = {"Host": "hub.example.com", "Accept": "application/json", "Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    query = dict(urllib.parse.parse_qsl(query))
    resource = path
    for name, value in parameters.items():
        resource = resource.replace(f"/{value}", f"/{{{name}}}", 1)
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()},
        "pathParameters": parameters,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": resource,
            "httpMethod": method,
            "path": f"/hub{path}",
            "protocol": "HTTP/1.1",
            "stage": "hub",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


def sha256(*parts):
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def commit(text, parent=""):
    """A commit of one file, as the bundle of a push; and the commit's id, and the file's."""
    file = sha256(text)
    snapshot = sha256("song.txt", file)
    made = "2026-01-31T12:00:00+00:00"
    of = {"parent_commit_id": parent} if parent else {}
    made_of = {"snapshot_id": snapshot, "message": text, "committed_at": made, "author": "dev"} | of
    bundle = {
        "commits": [{"commit_id": sha256(parent, snapshot, text, made)} | made_of],
        "snapshots": [{"snapshot_id": snapshot, "manifest": {"song.txt": file}}],
        "objects": [{"object_id": file, "content_b64": base64.b64encode(text.encode()).decode()}],
    }
    return bundle, bundle["commits"][0]["commit_id"], file


def compacted(repo_id):
    """What the table's stream says when a pack has landed."""
    return {"dynamodb": {"Keys": {"pk": {"S": f"REPO#{repo_id}"}, "sk": {"S": "PACK#01"}}, "SequenceNumber": "1"}}


def moved(repo_id, n):
    """What it says when a branch has moved."""
    keys = {"pk": {"S": f"REPO#{repo_id}"}, "sk": {"S": f"LOG#01JXT21Q2PYJYZGM06QYMWFQ{n:02}"}}
    line = {"branch": {"S": "main"}, "after": {"S": "c"}, "forced": {"BOOL": False}, "by": {"S": "u"}, "at": {"S": ""}}
    return {"eventName": "INSERT", "dynamodb": {"Keys": keys, "NewImage": keys | line, "SequenceNumber": str(n)}}


class Bus(http.server.BaseHTTPRequestHandler):
    """An event bus that takes what it is sent, one event at a time."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):  # noqa: N802
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


@contextlib.contextmanager
def event_bus():
    """The environment that leads to a bus and to no queue, which a repository without webhooks needs none of."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bus)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        queues = {"MUSEHUB_WEBHOOK_QUEUE": f"{url}/queue.fifo", "MUSEHUB_WEBHOOK_RETRIES": f"{url}/retries.fifo"}
        yield {"AWS_ENDPOINT_URL_EVENTBRIDGE": url, "MUSEHUB_EVENT_BUS": "bus", **queues}
    finally:
        server.shutdown()
        server.server_close()


def waiting(repo_id):
    """What the queue says of an event that waits for a webhook."""
    hook = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    message = {"repo": repo_id, "owner": "dev", "hook": hook, "id": "1", "type": "RefUpdated", "body": "{}"}
    attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1523232000000", "MessageGroupId": "dev/0"}
    source = "arn:aws:sqs:us-east-2:123456789012:queue.fifo"
    body = json.dumps(message)
    return {"messageId": "1", "receiptHandle": "1", "body": body, "attributes": attributes, "eventSourceARN": source}


def requests(token, repo_id, first, file):
    """What each function is asked, the n-th time: the least that takes it all the way, to the stores and back."""
    here = {"owner": "dev", "slug": "song"}

    def repo(method, endpoint, body=None):
        return event(method, f"/dev/song/{endpoint}", body, token, **here)

    return {
        "health": lambda n: event("GET", "/health"),
        "openapi": lambda n: event("GET", "/openapi.json"),
        "identities": lambda n: event("POST", "/api/identities", {"handle": "dev"}, token),
        "repos": lambda n: event("POST", "/api/repos", {"name": f"made {n}"}, token),
        "refs": lambda n: repo("GET", "refs"),
        "push": lambda n: repo("POST", "push", {"branch": f"take/{n}", "bundle": commit(f"take {n}", first)[0]}),
        "push-objects": lambda n: repo("POST", "push/objects", {"objects": commit(f"staged {n}")[0]["objects"]}),
        "fetch": lambda n: repo("POST", "fetch", {"want": [first]}),
        "filter-objects": lambda n: repo("POST", "filter-objects", {"object_ids": [file]}),
        "presign": lambda n: repo("POST", "presign", {"object_ids": [file], "direction": "put"}),
        "negotiate": lambda n: repo("POST", "negotiate", {"want": [first], "have": [first]}),
        "tags": lambda n: repo("POST", "tags", {"tags": [{"tag": f"tag {n}", "commit_id": first}]}),
        "releases": lambda n: repo("POST", "releases", {"tag": f"v{n}", "commit_id": first}),
        "uploads": lambda n: repo("POST", "uploads"),
        "object": lambda n: event("GET", f"/o/{file}?repo_id={repo_id}", token=token, object_id=file),
        "branches": lambda n: event("GET", "/api/repos/dev/song/branches", token=token, **here),
        "stats": lambda n: event("GET", "/api/repos/dev/song/stats", token=token, **here),
        "webhooks": lambda n: event("GET", "/api/repos/dev/song/webhooks", token=token, **here),
        "web": lambda n: event("GET", "/dev/song", token=token, **here),
        # A message of the queue, for a webhook that is gone: nothing is called from here.
        "deliver": lambda n: {"Records": [waiting(repo_id)]},
        # Changes in the table's stream, and no requests.
        "compact": lambda n: {"Records": [compacted(repo_id)]},
        "events": lambda n: {"Records": [moved(repo_id, n)]},
    }


@contextlib.contextmanager
def running(command, ready, said):
    """A `musehub` that runs, from when it has said `ready`."""
    environment = os.environ | {"ACCESS_TOKEN_SECRET": SECRET}
    with open(said, "wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out)
    try:
        end = time.monotonic() + PATIENCE
        while ready not in pathlib.Path(said).read_text():
            if process.poll() is not None or time.monotonic() > end:
                raise Broken(f"{command[0]} {command[1]} does not start")
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def push_first(musehub, data, said):
    """Pushes a commit to dev/song through a hub on the same folder: a token, the repo's id, and the request's ids."""
    bundle, first, file = commit("first take")
    with running([musehub, "serve", "--data", data, "--listen", "127.0.0.1:0"], "Ctrl-C", said):
        greeting = pathlib.Path(said).read_text()
        url = re.search(r"http://127[0-9.:]*", greeting)[0]
        token = re.search(r"eyJ[\w.-]*", greeting)[0]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = json.dumps({"branch": "main", "bundle": bundle}).encode()
        ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        ask(urllib.request.Request(f"{url}/dev/song/push", body, headers), timeout=PATIENCE).close()
        with ask(f"{url}/dev/song/refs", timeout=PATIENCE) as refs:
            repo_id = json.load(refs)["repo_id"]
    return token, repo_id, first, file


def zipped(binary):
    """Bytes of the zip that is uploaded to Lambda."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.write(binary, "bootstrap")
    return len(archive.getvalue())


def measure(function, binary, ask, environment):
    """A line of the table, and whether the zip is small enough."""
    size = zipped(binary)
    mark = ZIP_MARK_OF_PAGES if function == "web" else ZIP_MARK
    environment = environment | {"AWS_LAMBDA_FUNCTION_NAME": function}
    starts = [start(binary, [ask(2 * n), ask(2 * n + 1)], environment) for n in range(STARTS)]
    polls, answers, statuses, peaks = zip(*starts, strict=True)
    first, second = (min(times) for times in zip(*answers, strict=True))
    cells = [
        f"`{function}`",
        f"{binary.stat().st_size / 1e6:.2f} MB",
        f"{size / 1e6:.2f} MB" + (" **too large**" if size > mark else ""),
        f"{min(polls):.1f} ms" + (f" (over {POLL_MARK})" if min(polls) > POLL_MARK else ""),
        f"{first:.1f} ms",
        f"{second:.1f} ms",
        "/".join(map(str, sorted({status for both in statuses for status in both}))),
        f"{max(peaks) / 1e6:.1f} MB",
    ]
    print("| " + " | ".join(cells) + " |", flush=True)
    return size <= mark


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} processors, best of {STARTS} starts"


def main(warn, target, functions):
    target = pathlib.Path(target)
    musehub = str(target / "debug" / "musehub")
    fit = True
    with tempfile.TemporaryDirectory() as work:
        data, env, said = (f"{work}/{name}" for name in ("data", "env", "said"))
        asked = requests(*push_first(musehub, data, said))
        with running([musehub, "backends", "--data", data, "--env", env], "Ctrl-C", said), event_bus() as bus:
            # Nothing of this environment, so that the function is as it comes.
            environment = dict(line.split("=", 1) for line in pathlib.Path(env).read_text().splitlines())
            environment |= {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512", "AWS_LAMBDA_FUNCTION_VERSION": "1", "RUST_LOG": "info"}
            environment |= bus
            print(machine(), end="\n\n")
            print("| function | bootstrap | zip | start to first poll | first answer | second answer | status | peak memory |")
            print("|---|---|---|---|---|---|---|---|")
            for function in functions:
                if function not in asked:
                    raise Broken(f"{function}: say in {__file__} what it is to be asked")
                binary = target / "lambda" / function / "bootstrap"
                fit &= measure(function, binary, asked[function], environment)
    if not fit:
        too_large = "a zip is larger than its mark: 3.6 MB, or 4 MB with pages"
        print(f"::warning::{too_large}" if warn else too_large, file=sys.stderr)
    return fit or warn


if __name__ == "__main__":
    try:
        warn = sys.argv[1] == "--warn"
        target, *functions = sys.argv[2 if warn else 1 :]
        sys.exit(not main(warn, target, functions))
    except Broken as broken:
        sys.exit(str(broken))
