"""Holds template.yaml to the code.

It translates the template with SAM's own translator, without a network, and compares what CloudFormation would get
with the routes of Cargo.toml, what streams (service/src/routes.rs), what is binary (local/src/lambda.rs), the environment
that functions read (service/src/hub.rs) and the crates in functions/. Then it looks at rights, at what is kept, at
the door and at the alarms. Each failure is one line.

    check-template.py               check
    check-template.py --policies    print each function's rights as JSON
    check-template.py --calls FILE  compare each function's rights with the calls that a test run has recorded
    check-template.py --self-test   break the template in many ways, and see that each is found: in all with
                                    MUSEHUB_TEST_CASES=all, as by night, else in every eighth, for each takes a second

`--root` names another copy of the repository. scripts/check-template.sh makes the environment that this runs in.
"""

import argparse
import copy
import json
import logging
import os
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

# The translator asks for a region and makes no call.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
logging.disable(logging.WARNING)

from samcli.yamlhelper import yaml_parse  # noqa: E402
from samtranslator.model.exceptions import InvalidDocumentException  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402

Json = dict[str, Any]

FUNCTION = "AWS::Serverless::Function"
# What OidcIssuer may be, and what a hub would refuse.
ISSUERS = {
    "": True,
    "https://token.actions.githubusercontent.com": True,
    "https://music.eu.auth0.com/": True,
    "https://10.0.0.7:8443/realms/music": True,
    "http://localhost:8080": False,
    "https://": False,
    "https:///x": False,
    "https://[": False,
    "https://[::1": False,
    "https://a b": False,
    "https://a:b": False,
    "https://me@example.com": False,
    "https://example.com/?a=b": False,
    "https://example.com/#a": False,
    "https://example.com/" + "x" * 108: True,
    "https://example.com/" + "x" * 109: False,
}
# What functions have beside what the hub reads.
OTHER_VARIABLES = {"RUST_LOG"}
# What the hub reads and a template must not hold.
SECRET_VARIABLES = {"ACCESS_TOKEN_SECRET"}
# What SAM attaches by itself; the boundary takes from it what is too much.
MANAGED_BY_SAM = re.compile(
    r":iam::aws:policy/(service-role/AWSLambda(Basic|DynamoDB|SQSQueue)ExecutionRole|AWSXray\w+)$", re.IGNORECASE
)
# What no request leads to: the table's stream wakes them.
WOKEN_BY_THE_STREAM = {"compact", "events"}
# Where Lambda keeps what they fail on: a bucket by itself, which no code of the hub's names.
DEAD_LETTERS = "DeadLetters"
# What queues wake, and which.
WOKEN_BY_QUEUES = {"deliver": ["WebhookQueue", "WebhookRetries"]}
# What they and others call beside the table and the bucket, and on which resources.
OTHER_CALLS = {
    "events": {("events:PutEvents", "EventBus.Arn"), ("sqs:SendMessage", "WebhookQueue.Arn")},
    "deliver": {
        ("sqs:ChangeMessageVisibility", "WebhookQueue.Arn"),
        ("sqs:ChangeMessageVisibility", "WebhookRetries.Arn"),
        ("sqs:SendMessage", "WebhookRetries.Arn"),
    },
}
# No other function deletes packs.
DELETES_PACKS = {"compact"}
KEY_PREFIXES = {"packs", "objects", "uploads"}
PARTITION_KEYS = {"NAME#*", "PLACES#*", "POOL#*", "REPO#*", "USER#*", "HANDLE#*", "UPLOAD#*", "PUBLIC", "SECRET"}
# What functions may list: what they may read, so that a key that is not there is not taken for a right that is not there.
LISTED = {"packs/*", "objects/*", "uploads/*", "uploads/bodies/*"}
# Who lists more than what it reads, and what: how large everything of a repository is, and whether the bucket answers.
LISTS_MORE = {"stats": {"objects/*"}, "health": {"uploads/*"}, "compact": {"objects/*"}}
# What is not read, but signed for others to read.
SIGNED = {"presign": {"objects/*"}}
# Who looks through what was deleted, and deletes it for good: what was purged.
VERSIONS = {"compact": {"packs/*", "objects/*", "uploads/*"}}
# An error of these makes clients send more.
LAST_TO_BE_THROTTLED = {"filter-objects", "presign", "negotiate"}
# These cost most.
FIRST_TO_BE_THROTTLED = {"fetch", "stats", "repos", "log", "forks"}
# API Gateway stops to wait for a buffered answer then.
BUFFERED_SECONDS = 29
# Seconds of silence after which API Gateway may close a stream, less some for the way.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html
LONGEST_SILENCE = 300 - 10
# What an account has without paying for it, less the one that looks at its bill.
FREE_ALARMS = 10 - 1
# Seconds that a record of a table's stream lives. Lambda has to give up a good while before, or it is gone and no dead letter.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
STREAM_SECONDS = 24 * 60 * 60
LONGEST_RECORD_AGE = STREAM_SECONDS - 4 * 60 * 60
# The types of answers that the door makes itself, and the status of each.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
ANSWERS_OF_THE_DOOR = {
    "DEFAULT_4XX": 404,
    "ACCESS_DENIED": 404,
    "EXPIRED_TOKEN": 404,
    "INVALID_SIGNATURE": 404,
    "MISSING_AUTHENTICATION_TOKEN": 404,
    "RESOURCE_NOT_FOUND": 404,
    "UNAUTHORIZED": 404,
    "BAD_REQUEST_BODY": 400,
    "BAD_REQUEST_PARAMETERS": 400,
    "INVALID_API_KEY": 403,
    "WAF_FILTERED": 403,
    "REQUEST_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "QUOTA_EXCEEDED": 429,
    "THROTTLED": 429,
    "DEFAULT_5XX": None,
    "INTEGRATION_FAILURE": 503,
    "INTEGRATION_TIMEOUT": 504,
}
# CloudFront's own policies: nothing is kept, and all that came is passed on but the header Host.
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html
NO_CACHE = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
# The errors that CloudFront keeps unless it is not to.
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/HTTPStatusCodes.html
ERRORS_AT_THE_EDGE = (400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504)
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-origin-request-policies.html
ALL_BUT_THE_HOST = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
# The one variable that such an answer may have: all else that API Gateway says of a request may repeat a header of it.
SAID_BY_THE_DOOR = {"$context.requestId"}


@dataclass
class Code:
    """What the code says."""

    routes: set[tuple[str, str, str]]
    streaming: set[str]
    streaming_mains: set[str]
    crates: set[str]
    binary_types: set[str]
    required: set[str]
    optional: set[str]
    # What a function reads beside what all of them do.
    own: dict[str, set[str]]
    # Seconds within which an answer begins, or is given up, and what is left of a function's time then.
    answer_within: int
    left: int
    # How often a message for a webhook is tried, how many groups an owner's are, and how long the first pause is, in seconds.
    attempts: int
    lanes: int
    first_pause: int
    # What scripts/localstack/template.py sets the parameters to.
    tried: dict[str, str]

    @classmethod
    def read(cls, root: Path) -> "Code":
        cargo = tomllib.loads((root / "Cargo.toml").read_text())
        router = cargo["workspace"]["metadata"]["lambda"]["watch"]["router"]
        # What is left of a path is `{*path}` to `cargo lambda watch`, and `{path+}` to API Gateway.
        routes = {
            (to["method"], path.replace("{*path}", "{path+}"), to["function"])
            for path, tos in router.items()
            for to in tos
        }

        rust = (root / "service/src/routes.rs").read_text()
        names = dict(re.findall(r'Self::(\w+) => "([a-z-]+)"', rust))
        streams = one(r"fn streams\(self\) -> bool \{\s*matches!\(\s*self,\s*([^)]*)\)", rust, "Function::streams")
        mains = (root / "functions").glob("*/src/main.rs")

        binary = one(
            r"BINARY_MEDIA_TYPES: \[&str; \d+\] = \[([^\]]*)\]",
            (root / "local/src/lambda.rs").read_text(),
            "BINARY_MEDIA_TYPES",
        )

        deadline = (root / "service/src/deadline.rs").read_text()
        webhook = (root / "functions/deliver/src/lib.rs").read_text()
        service = (root / "service/src/hub.rs").read_text()
        body = one(r"fn from_environment_at\(.*?\{\n(.*?)\n    \}\n", service, "Hub::from_environment_at")
        return cls(
            routes=routes,
            streaming={names[variant] for variant in re.findall(r"Self::(\w+)", streams)},
            streaming_mains={
                main.parts[-3]
                for main in mains
                if "lambda::streamed(" in main.read_text()
            },
            crates={manifest.parent.name for manifest in (root / "functions").glob("*/Cargo.toml")},
            binary_types=set(re.findall(r'"([^"]+)"', binary)),
            required=set(re.findall(r'\brequired\(\s*"(\w+)"', body)),
            optional=set(re.findall(r'\b(?:variable|choice|quota)\(\s*"(\w+)"', body)),
            own=own_variables(root),
            answer_within=int(one(r"ANSWER_WITHIN: Duration = Duration::from_secs\((\d+)\);", deadline, "ANSWER_WITHIN")),
            left=int(one(r"LEFT: Duration = Duration::from_secs\((\d+)\);", deadline, "LEFT")),
            attempts=int(one(r"ATTEMPTS: u32 = (\d+);", webhook, "ATTEMPTS")),
            lanes=int(one(r"LANES: u8 = (\d+);", (root / "store/src/table/webhooks/mod.rs").read_text(), "LANES")),
            first_pause=int(one(r"FIRST_PAUSE: Duration = Duration::from_secs\((\d+)\);", webhook, "FIRST_PAUSE")),
            tried=json.loads((root / "scripts/localstack/parameters.json").read_text()),
        )


def own_variables(root: Path) -> dict[str, set[str]]:
    """What a function reads of its environment by itself."""
    own: dict[str, set[str]] = {}
    for source in (root / "functions").glob("*/src/**/*.rs"):
        read = re.findall(r'\brequired\(\s*"(\w+)"', source.read_text())
        own.setdefault(source.relative_to(root / "functions").parts[0], set()).update(read)
    return own


def one(pattern: str, text: str, what: str) -> str:
    found = re.search(pattern, text, re.DOTALL)
    if found is None:
        sys.exit(f"check-template: {what} does not look as it did: fix the pattern in {Path(__file__).name}")
    return found.group(1)


@dataclass
class Statement:
    """One right: what may be done with what."""

    actions: list[str]
    resources: list[str]
    condition: Json = field(default_factory=dict)

    @classmethod
    def read(cls, statement: Json) -> "Statement":
        return cls(
            actions=as_list(statement.get("Action")),
            resources=[plain(resource) for resource in as_list(statement.get("Resource"))],
            condition=statement.get("Condition", {}),
        )

    def covers(self, action: str, resource: str) -> bool:
        prefixes = (known.removesuffix("*") for known in self.resources if known.endswith("/*"))
        return action in self.actions and (resource in self.resources or any(map(resource.startswith, prefixes)))


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def given(condition: Json) -> str | None:
    """The parameter that a condition wants to be not empty."""
    match condition:
        case {"Fn::Not": [{"Fn::Equals": [{"Ref": str(name)}, ""]}]}:
            return name
        case _:
            return None


def plain(value: Any) -> Any:
    """`!GetAtt Table.Arn` as `Table.Arn`, `!Sub "${Bucket.Arn}/packs/*"` as `Bucket.Arn/packs/*`, `!Ref X` as `X`; and what
    SAM joins of such."""
    match value:
        case {"Fn::GetAtt": [*parts]}:
            return ".".join(parts)
        case {"Fn::GetAtt": str(path)}:
            return path
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{([\w.:]+)\}", r"\1", text)
        case {"Ref": str(name)}:
            return name
        case {"Fn::Join": [str(between), [*parts]]}:
            return between.join(str(plain(part)) for part in parts)
        case _:
            return value


def is_for_dead_letters(actions: list[str], resources: list[str]) -> bool:
    return (actions, resources) in (
        (["s3:PutObject"], [f"{DEAD_LETTERS}.Arn/*"]),
        (["s3:ListBucket"], [f"{DEAD_LETTERS}.Arn"]),
    )


class NoPolicies:
    """The translator would ask AWS for the managed policies that a template names by name alone. Ours names none."""

    @staticmethod
    def load() -> Json:
        return {}


def translate(template: Json) -> Json:
    template = copy.deepcopy(template)
    for resource in template["Resources"].values():
        if resource["Type"] == FUNCTION:
            # `sam build` and `sam package` put the place of the zip here.
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    return transform(template, {}, NoPolicies())["Resources"]


class Check:
    """Compares one template with the code."""

    def __init__(self, template: Json, code: Code) -> None:
        self.template = template
        self.code = code
        self.failures: list[str] = []
        self.resources = translate(template)
        self.functions: dict[str, str] = {}
        for logical_id, resource in template["Resources"].items():
            if resource["Type"] == FUNCTION:
                properties = resource.get("Metadata", {}).get("BuildProperties", {})
                self.functions[logical_id] = properties.get("Binary", f"(no binary: {logical_id})")

    def fail(self, line: str) -> None:
        self.failures.append(line)

    def expect(self, right: bool, line: str) -> None:
        if not right:
            self.fail(line)

    def of_type(self, resource_type: str) -> dict[str, Json]:
        return {name: each for name, each in self.resources.items() if each["Type"] == resource_type}

    def only(self, resource_type: str) -> tuple[str, Json]:
        found = self.of_type(resource_type)
        if len(found) != 1:
            self.fail(f"there has to be one {resource_type}, and there are {len(found)}")
        return next(iter(found.items()), ("", {"Type": resource_type, "Properties": {}}))

    def run(self) -> list[str]:
        self.check_functions()
        self.check_door()
        self.check_front_door()
        self.check_stream()
        self.check_environment()
        self.check_issuer()
        self.check_tried_parameters()
        self.check_rights()
        self.check_table()
        self.check_bucket()
        self.check_logs()
        self.check_alarms()
        return self.failures

    # The functions and the routes to them.

    def check_functions(self) -> None:
        built = sorted(self.functions.values())
        for crate in sorted(self.code.crates - set(built)):
            self.fail(f"functions/{crate} has no function in the template")
        for name in sorted(set(built) - self.code.crates):
            self.fail(f"the template builds {name}, and there is no functions/{name}")
        for name in sorted({name for name in built if built.count(name) > 1}):
            self.fail(f"the template builds {name} more than once")
        for logical_id, name in self.functions.items():
            source = self.template["Resources"][logical_id]
            properties = self.resources[logical_id]["Properties"]
            self.expect(
                source["Properties"].get("CodeUri") == f"functions/{name}", f"{name}: CodeUri is not functions/{name}"
            )
            self.expect(
                source.get("Metadata", {}).get("BuildMethod") == "rust-cargolambda",
                f"{name}: BuildMethod is not rust-cargolambda",
            )
            self.expect(properties.get("Runtime") == "provided.al2023", f"{name}: Runtime is not provided.al2023")
            self.expect(properties.get("Architectures") == ["arm64"], f"{name}: Architectures is not arm64")
            self.expect(properties.get("TracingConfig") == {"Mode": "Active"}, f"{name} is not traced")
        for name in sorted(self.code.streaming ^ self.code.streaming_mains):
            has = "buffers" if name in self.code.streaming else "streams"
            self.fail(f"functions/{name}/src/main.rs {has}, and Function::streams says otherwise")

    def check_door(self) -> None:
        _, api = self.only("AWS::ApiGateway::RestApi")
        properties = api["Properties"]
        self.expect(
            plain(properties.get("EndpointConfiguration")) == {"Types": ["REGIONAL"]}, "the API is not Regional"
        )
        binary = set(properties.get("BinaryMediaTypes", []))
        self.expect(
            binary == self.code.binary_types,
            f"BinaryMediaTypes are {sorted(binary)}, and local/src/lambda.rs has {sorted(self.code.binary_types)}",
        )
        found = set()
        for path, methods in properties.get("Body", {}).get("paths", {}).items():
            for method, operation in methods.items():
                if method.startswith("x-amazon-apigateway-any"):
                    self.fail(f"{path} takes any method")
                    continue
                if method == "options":
                    # What a browser asks before a page reads: the door answers it, and lets no page send a token.
                    self.check_preflight(path, operation)
                    continue
                found.add(self.check_route(method.upper(), path, operation["x-amazon-apigateway-integration"]))
        for method, path, function in sorted(self.code.routes - found):
            self.fail(f"{method} {path} does not lead to {function}, as Cargo.toml says")
        for method, path, function in sorted(found - self.code.routes):
            self.fail(f"{method} {path} leads to {function}, and Cargo.toml has no such route")
        self.check_answers_of_the_door(properties.get("Body", {}).get("x-amazon-apigateway-gateway-responses", {}))
        self.check_stage()

    def check_preflight(self, path: str, operation: Json) -> None:
        integration = operation["x-amazon-apigateway-integration"]
        self.expect(integration.get("type") == "mock", f"OPTIONS {path} leads to a function")
        said = json.dumps(integration.get("responses", {})).lower()
        self.expect("authorization" not in said and "credentials" not in said, f"OPTIONS {path} lets pages send tokens")

    def check_stream(self) -> None:
        """Each function is behind a route, or else behind the stream or a queue, which wakes it for little and forgets
        nothing."""
        routed = {function for _, _, function in self.code.routes}
        mappings: dict[str, Json] = {}
        by_queues: dict[tuple[str, str], Json] = {}
        for each in self.of_type("AWS::Lambda::EventSourceMapping").values():
            name = self.functions.get(plain(each["Properties"].get("FunctionName")), "no function of the template")
            queue = str(plain(each["Properties"].get("EventSourceArn"))).removesuffix(".Arn")
            if queue in WOKEN_BY_QUEUES.get(name, []):
                by_queues[name, queue] = each
            else:
                mappings[name] = each
        for name in sorted(self.code.crates - routed - WOKEN_BY_THE_STREAM - set(WOKEN_BY_QUEUES)):
            self.fail(f"nothing leads to functions/{name}")
        for name, queues in WOKEN_BY_QUEUES.items():
            for queue in queues:
                if (mapping := by_queues.get((name, queue))) is None:
                    self.fail(f"{name} is not woken by {queue}")
                else:
                    self.check_queue(name, queue, mapping["Properties"])
        for name in sorted(set(mappings) ^ WOKEN_BY_THE_STREAM):
            self.fail(f"{name} is {'' if name in mappings else 'not '}woken by the stream")
        for name, mapping in mappings.items():
            self.check_mapping(name, mapping["Properties"])

    def check_mapping(self, name: str, properties: Json) -> None:
        self.expect(plain(properties.get("EventSourceArn")) == "Table.StreamArn", f"{name} reads another stream")
        patterns = []
        for each in properties.get("FilterCriteria", {}).get("Filters", []):
            try:
                patterns.append(json.loads(each["Pattern"]))
            except json.JSONDecodeError:
                self.fail(f"{name}: a filter is no JSON")
        self.expect(bool(patterns), f"{name} is woken by every change of the table")
        for pattern in patterns:
            key = pattern.get("dynamodb", {}).get("Keys", {}).get("sk", {}).get("S")
            self.expect(
                bool(key) and len(pattern.get("eventName", [])) == 1, f"{name} is woken by more than one kind of change"
            )
        self.expect(properties.get("MaximumRetryAttempts", -1) >= 0, f"{name}: a change that fails is tried for ever")
        age = properties.get("MaximumRecordAgeInSeconds", -1)
        self.expect(0 < age <= LONGEST_RECORD_AGE, f"{name}: a change may be gone before it is a dead letter")
        self.expect(
            properties.get("FunctionResponseTypes") == ["ReportBatchItemFailures"],
            f"{name} names what failed, and is not listened to",
        )
        self.expect(bool(properties.get("BisectBatchOnFunctionError")), f"{name}: one change fails a whole batch")
        letters = plain(properties.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", ""))
        self.expect(letters == f"{DEAD_LETTERS}.Arn", f"{name}: what fails for good is forgotten")

    def check_queue(self, name: str, queue: str, mapping: Json) -> None:
        self.expect(
            mapping.get("FunctionResponseTypes") == ["ReportBatchItemFailures"],
            f"{name} names what failed, and is not listened to",
        )
        most = mapping.get("ScalingConfig", {}).get("MaximumConcurrency")
        self.expect(most is not None, f"{name} may take all of the account's concurrency")
        queues = self.of_type("AWS::SQS::Queue")
        properties = queues.get(queue, {}).get("Properties", {})
        redrive = properties.get("RedrivePolicy", {})
        letters = str(plain(redrive.get("deadLetterTargetArn"))).removesuffix(".Arn")
        for each in (queue, letters):
            kept = queues.get(each, {}).get("Properties", {})
            self.expect(kept.get("FifoQueue") is True, f"{each} keeps no order")
            self.expect(kept.get("SqsManagedSseEnabled") is True, f"{each} is not encrypted")
            self.expect(kept.get("MessageRetentionPeriod") == 1209600, f"{each} forgets before 14 days")
        if queue == "WebhookQueue":
            share = most is None or 2 * self.code.lanes < most
            self.expect(share, f"{queue}: one owner's receivers may hold half of {most} invocations")
        else:
            self.expect(
                redrive.get("maxReceiveCount") == self.code.attempts - 1,
                f"{queue} gives up after {redrive.get('maxReceiveCount')} attempts, and the code after {self.code.attempts}",
            )
            self.expect(
                properties.get("DelaySeconds") == self.code.first_pause, f"{queue} does not wait after the first attempt"
            )
        timeout = next(
            self.resources[logical_id]["Properties"].get("Timeout", 0)
            for logical_id, function in self.functions.items()
            if function == name
        )
        self.expect(
            properties.get("VisibilityTimeout", 30) >= 6 * timeout, f"{queue} hands over again what is under way"
        )
        self.expect(f"{letters}.QueueName" in self.watched_queues(), f"{name}: no alarm watches its dead letters")

    def watched_queues(self) -> list[str]:
        return [
            plain(dimension.get("Value"))
            for alarm in self.of_type("AWS::CloudWatch::Alarm").values()
            for dimension in alarm["Properties"].get("Dimensions", [])
        ]

    def check_route(self, method: str, path: str, integration: Json) -> tuple[str, str, str]:
        route = f"{method} {path}"
        uri = re.search(
            r"lambda:path/(\d{4}-\d\d-\d\d)/functions/\$\{(\w+)\.Arn\}/([a-z-]+)$", integration["uri"]["Fn::Sub"]
        )
        version, logical_id, invocation = uri.groups() if uri else ("", "", "")
        function = self.functions.get(logical_id, "no function of the template")
        self.expect(integration.get("type") == "aws_proxy", f"{route} is no proxy integration")
        self.expect(integration.get("httpMethod") == "POST", f"{route}: Lambda is invoked with POST")
        streams = function in self.code.streaming
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html
        wanted = (
            ("STREAM", "2021-11-15", "response-streaming-invocations")
            if streams
            else (None, "2015-03-31", "invocations")
        )
        has = (integration.get("responseTransferMode"), version, invocation)
        self.expect(
            has == wanted,
            f"{route}: {function} {'streams' if streams else 'does not stream'}, and the integration is {has}",
        )
        seconds = self.resources.get(logical_id, {}).get("Properties", {}).get("Timeout")
        waits = integration.get("timeoutInMillis")
        if streams:
            self.expect(
                waits == (seconds or 0) * 1000, f"{route} waits {waits} ms, and {function} may take {seconds} seconds"
            )
            silent = min((seconds or 0) - self.code.left, self.code.answer_within)
            self.expect(silent <= LONGEST_SILENCE, f"{route}: {function} may be silent for {silent} seconds")
        else:
            self.expect(
                waits is None or waits <= BUFFERED_SECONDS * 1000, f"{route} waits {waits} ms for a buffered answer"
            )
        return method, path, function

    def check_front_door(self) -> None:
        """CloudFront in front of the API, on demand: it passes all on, waits for longer than the hub does, keeps what is public
        and nothing else, and there is no way around it."""
        api_id, api = self.only("AWS::ApiGateway::RestApi")
        _, front = self.only("AWS::CloudFront::Distribution")
        self.expect(front.get("Condition") == "HasFrontDoor", "the front door is there for all")
        config = front["Properties"].get("DistributionConfig", {})
        default = config.get("DefaultCacheBehavior", {})
        for behavior in (default, *config.get("CacheBehaviors", [])):
            path = behavior.get("PathPattern", "*")
            self.expect(behavior.get("ViewerProtocolPolicy") == "https-only", f"the front door takes {path} without TLS")
            self.expect(
                behavior.get("OriginRequestPolicyId") == ALL_BUT_THE_HOST, f"the front door keeps something of {path} back"
            )
        self.expect(len(default.get("AllowedMethods", [])) == 7, "the front door takes not all methods")
        self.expect(default.get("CachePolicyId") == NO_CACHE, "the front door keeps answers of all kinds")
        for behavior in config.get("CacheBehaviors", []):
            if behavior["PathPattern"] == "/-/storage/*":
                self.expect(behavior.get("CachePolicyId") == NO_CACHE, "the front door keeps what a presigned URL opens")
                self.expect(behavior.get("TargetOriginId") == "storage", "the front door leads presigned URLs to the API")
                self.expect(bool(behavior.get("FunctionAssociations")), "the front door asks the bucket for other keys")
                continue
            path, policy = behavior["PathPattern"], self.resources.get(plain(behavior.get("CachePolicyId")), {})
            kept = policy.get("Properties", {}).get("CachePolicyConfig", {})
            self.expect(path == "/o/*", f"the front door keeps {path}, of which not all is said to be public or private")
            self.expect(kept.get("MinTTL") == 0, f"the front door keeps {path} for longer than the hub says")
            self.expect(kept.get("MaxTTL", 0) <= 86400, f"the front door keeps {path} for more than a day")
            key = kept.get("ParametersInCacheKeyAndForwardedToOrigin", {})
            headers = key.get("HeadersConfig", {}).get("Headers", [])
            self.expect("Authorization" in headers, f"the front door gives one what another's token has opened: {path}")
            query = key.get("QueryStringsConfig", {}).get("QueryStrings", [])
            self.expect("repo_id" in query, f"the front door gives one repository's for another's: {path}")
        errors = {each["ErrorCode"]: each.get("ErrorCachingMinTTL") for each in config.get("CustomErrorResponses", [])}
        for status in ERRORS_AT_THE_EDGE:
            self.expect(errors.get(status) == 0, f"the front door repeats a {status} to others")
        # What CloudFront shows, the API asks for.
        secrets = []
        for origin in config.get("Origins", []):
            # A header that the bucket does not ask for is one that it may refuse, and the secret is not its business.
            self.expect(origin["Id"] == "api" or "OriginCustomHeaders" not in origin, "the front door shows the bucket more than a URL")
            self.expect("S3OriginConfig" not in origin, "the front door may read the bucket without a presigned URL")
            for header in origin.get("OriginCustomHeaders", []):
                secrets.append((header["HeaderName"].lower(), plain(header["HeaderValue"])))
            wait = origin.get("CustomOriginConfig", {}).get("OriginReadTimeout")
            self.expect(
                wait == {"Fn::FindInMap": ["FrontDoorSeconds", {"Ref": "FrontDoorSeconds"}, "Wait"]},
                f"the front door waits for {wait}",
            )
        _, statements, _ = api["Properties"].get("Policy", {}).get("Fn::If", ("", {}, ""))
        denied = [each for each in statements.get("Statement", []) if each.get("Effect") == "Deny"]
        asked = [
            (key.removeprefix("aws:").lower(), plain(value))
            for each in denied
            for key, value in each.get("Condition", {}).get("StringNotEquals", {}).items()
        ]
        self.expect(bool(secrets) and asked == secrets, f"{api_id} is open to all beside the front door")
        sources = [each["Properties"] for each in self.template["Resources"].values() if each["Type"] == "AWS::Serverless::Api"]
        self.expect(
            all(each.get("AlwaysDeploy") is True for each in sources), f"{api_id}: a new policy does not count until a route changes"
        )
        self.expect(
            self.template["Parameters"].get("FrontDoorSecret", {}).get("NoEcho") is True, "FrontDoorSecret can be looked up"
        )
        for seconds, each in self.template.get("Mappings", {}).get("FrontDoorSeconds", {}).items():
            within = int(each["AnswerWithin"])
            self.expect(
                within + self.code.left <= each["Wait"] == int(seconds) and within <= self.code.answer_within,
                f"the hub gives up after {within} seconds, and the front door after {each['Wait']}",
            )

    def check_answers_of_the_door(self, answers: Json) -> None:
        for name in sorted(set(ANSWERS_OF_THE_DOOR) - set(answers)):
            self.fail(f"the door answers {name} in words of its own")
        for name, answer in answers.items():
            text = answer.get("responseTemplates", {}).get("application/json", "")
            said = set(re.findall(r"\$[\w.]+", text))
            self.expect(said <= SAID_BY_THE_DOOR, f"the door's answer {name} repeats what came: {sorted(said)}")
            status, wanted = answer.get("statusCode"), ANSWERS_OF_THE_DOOR.get(name)
            self.expect(status is None or str(status) == str(wanted), f"the door's answer {name} is a {status}")
            self.expect(wanted is None or status is not None, f"the door's answer {name} has no status of its own")
            if wanted == 404:
                self.expect('"not_found"' in text, f"the door's answer {name} is not the hub's 404")
            try:
                keys = set(json.loads(text))
            except (json.JSONDecodeError, TypeError):
                keys = set()
            self.expect(keys == {"error", "detail"}, f"the door's answer {name} is not {{error, detail}}")

    def check_stage(self) -> None:
        _, stage = self.only("AWS::ApiGateway::Stage")
        properties = stage["Properties"]
        self.expect(properties.get("TracingEnabled") is not True, "traces of the API hold paths, and so the secrets of links")
        log_format = properties.get("AccessLogSetting", {}).get("Format", "")
        try:
            json.loads(log_format)
        except json.JSONDecodeError:
            self.fail("the access log's format is no JSON")
        allowed = {"error.responseType", "httpMethod", "identity.sourceIp", "requestId", "requestTimeEpoch"}
        allowed |= {"resourcePath", "responseLatency", "responseLength", "status"}
        allowed |= {"integration.integrationStatus", "integration.latency", "integration.status"}
        for name in sorted(set(re.findall(r"\$context\.([\w.]+)", log_format)) - allowed):
            self.fail(f"the access log holds {name}, which is not known to be no secret")
        default, others = 0, {}
        for setting in properties.get("MethodSettings", []):
            path = setting["ResourcePath"].replace("~1", "/").removeprefix("/")
            self.expect(setting.get("LoggingLevel") == "OFF", f"{path}: execution logs may hold headers and bodies")
            self.expect(setting.get("DataTraceEnabled") is False, f"{path}: data traces hold bodies")
            limits = (setting.get("ThrottlingRateLimit", 0), setting.get("ThrottlingBurstLimit", 0))
            if path == "*":
                default = limits
            else:
                others[path.rsplit("/", 1)[-1]] = limits
        self.expect(bool(default) and all(default), "the API has no limits on requests")
        for name in sorted(LAST_TO_BE_THROTTLED):
            higher = default and all(own > usual for own, usual in zip(others.get(name, (0, 0)), default, strict=True))
            self.expect(bool(higher), f"{name} is throttled no later than others")
        for name in sorted(FIRST_TO_BE_THROTTLED):
            lower = default and all(own < usual for own, usual in zip(others.get(name, default), default, strict=True))
            self.expect(bool(lower), f"{name} is throttled no earlier than others")

    def check_environment(self) -> None:
        read = self.code.required | self.code.optional
        for name in sorted(self.code.required & SECRET_VARIABLES):
            self.fail(f"Hub::from_environment demands {name}, which a template must not hold")
        for logical_id, function in self.functions.items():
            given = self.resources[logical_id]["Properties"].get("Environment", {}).get("Variables", {})
            for name in sorted(set(given) & SECRET_VARIABLES):
                self.fail(f"{function}: the template holds {name}")
            own = self.code.own.get(function, set())
            for name in sorted(read - SECRET_VARIABLES - set(given)):
                self.fail(f"{function} is not given {name}, which Hub::from_environment reads")
            for name in sorted(own - set(given)):
                self.fail(f"{function} is not given {name}, which it reads")
            for name in sorted(set(given) - read - own - OTHER_VARIABLES):
                self.fail(f"{function} is given {name}, which nothing reads")
        for name, resource in self.resources.items():
            if resource["Type"].startswith("AWS::SecretsManager::"):
                self.fail(f"{name}: a secret in Secrets Manager costs money while the hub is not used")

    def check_issuer(self) -> None:
        """A hub ends at its start where an issuer is named in part, or is no URL: CloudFormation has to refuse it before."""
        parameters = self.template["Parameters"]
        needed = {
            (given(rule["RuleCondition"]), given(assertion["Assert"]))
            for rule in self.template.get("Rules", {}).values()
            for assertion in rule["Assertions"]
        }
        wanted = {(name, "OidcIssuer") for name in parameters if name.startswith("Oidc") and name != "OidcIssuer"}
        for name, other in sorted((wanted | {("OidcIssuer", "OidcAudience")}) - needed):
            self.fail(f"no rule says that {name} needs {other}")
        issuer = parameters["OidcIssuer"]
        for url, is_one in ISSUERS.items():
            is_taken = re.search(issuer["AllowedPattern"], url) is not None and len(url) <= issuer.get("MaxLength", 4096)
            self.expect(is_taken == is_one, f"OidcIssuer {'refuses' if is_one else 'takes'} {url!r}")

    def check_tried_parameters(self) -> None:
        """The stack with all parameters set, which LocalStack makes once a week: what it sets is seen here every time."""
        parameters, tried = self.template["Parameters"], self.code.tried
        for name in sorted(set(tried) - set(parameters)):
            self.fail(f"scripts/localstack/parameters.json sets {name}, which is no parameter")
        for name, parameter in parameters.items():
            value = tried.get(name)
            if value is None:
                self.fail(f"scripts/localstack/parameters.json does not set {name}")
                continue
            self.expect(value != str(parameter["Default"]), f"scripts/localstack/parameters.json leaves {name} as it is")
            allowed = [str(each) for each in parameter.get("AllowedValues", [value])]
            is_taken = value in allowed and re.search(parameter.get("AllowedPattern", ""), value) is not None
            self.expect(is_taken, f"scripts/localstack/parameters.json: {name} may not be {value!r}")

    # Rights.

    def statements(self, logical_id: str) -> list[Statement]:
        """What a function may do, whether it says so itself or shares a policy."""
        role = self.resources[f"{logical_id}Role"]["Properties"]
        documents = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
        for policy in role.get("ManagedPolicyArns", []):
            name = plain(policy)
            shared = self.resources.get(name)
            if shared is not None and shared["Type"] == "AWS::IAM::ManagedPolicy":
                documents.append(shared["Properties"]["PolicyDocument"])
            elif not MANAGED_BY_SAM.search(str(name)):
                self.fail(f"{self.functions[logical_id]}: the policy {name} is none of the template's")
        return [Statement.read(each) for document in documents for each in as_list(document["Statement"])]

    def buckets(self) -> dict[str, Json]:
        """The bucket of the hub: all but that of the dead letters."""
        return {name: each for name, each in self.of_type("AWS::S3::Bucket").items() if name != DEAD_LETTERS}

    def check_rights(self) -> None:
        table, _ = self.only("AWS::DynamoDB::Table")
        if len(self.buckets()) != 1:
            self.fail(f"there has to be one bucket beside {DEAD_LETTERS}, and there are {len(self.buckets())}")
        bucket = next(iter(self.buckets()), "")
        for logical_id, function in self.functions.items():
            role = self.resources.get(f"{logical_id}Role")
            if role is None:
                self.fail(f"{function} has a role that is not of the template's making")
                continue
            boundary = self.resources.get(plain(role["Properties"].get("PermissionsBoundary")))
            self.expect(boundary is not None, f"{function} has no permissions boundary")
            document = boundary["Properties"]["PolicyDocument"] if boundary else {"Statement": []}
            most = [Statement.read(each) for each in document["Statement"]]
            self.check_lists(function, self.statements(logical_id), bucket)
            for statement in self.statements(logical_id):
                self.check_statement(function, statement, table, bucket)
                for action in statement.actions:
                    for resource in statement.resources:
                        self.expect(
                            any(bound.covers(action, resource) for bound in most),
                            f"{function}: the boundary takes {action} on {resource} away",
                        )
        for name, policy in self.of_type("AWS::IAM::ManagedPolicy").items():
            for statement in as_list(policy["Properties"]["PolicyDocument"]["Statement"]):
                for action in as_list(statement.get("Action")):
                    self.expect("*" not in action, f"{name}: {action} is a wildcard")

    def check_statement(self, function: str, statement: Statement, table: str, bucket: str) -> None:
        if self.keeps_dead_letters(function, statement):
            return
        self.expect(
            bool(statement.actions) and bool(statement.resources),
            f"{function}: a statement without an action or resource",
        )
        for action in statement.actions:
            self.expect("*" not in action, f"{function}: {action} is a wildcard")
            service = action.split(":")[0]
            others = OTHER_CALLS.get(function, set())
            if service not in ("dynamodb", "s3") and not all((action, on) in others for on in statement.resources):
                self.fail(f"{function}: {action} is no call to the table or the bucket")
        for resource in statement.resources:
            for action in statement.actions:
                if action.startswith("dynamodb:"):
                    self.expect(
                        resource == f"{table}.Arn", f"{function}: {action} on {resource}, which is not the table"
                    )
                elif action in ("s3:ListBucket", "s3:ListBucketVersions"):
                    self.expect(
                        resource == f"{bucket}.Arn", f"{function}: {action} on {resource}, which is not the bucket"
                    )
                elif action.startswith("s3:"):
                    found = re.fullmatch(rf"{bucket}\.Arn/(\w+)/(\w+/)?\*", str(resource))
                    self.expect(
                        found is not None and found.group(1) in KEY_PREFIXES,
                        f"{function}: {action} on {resource}, which is no prefix of keys in the bucket",
                    )
                    if action.startswith("s3:DeleteObject") and found is not None and found.group(1) == "packs":
                        self.expect(function in DELETES_PACKS, f"{function} may delete packs")
                    if action.endswith("Version"):
                        self.expect(function in VERSIONS, f"{function} may look at or delete versions")
        if any(action.startswith("dynamodb:") for action in statement.actions):
            keys = statement.condition.get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys")
            self.expect(
                bool(keys) and set(as_list(keys)) <= PARTITION_KEYS,
                f"{function}: {', '.join(statement.actions)} on any partition key",
            )
            # ForAllValues holds where there is no key at all.
            # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
            self.expect(
                statement.condition.get("Null") == {"dynamodb:LeadingKeys": "false"},
                f"{function}: {', '.join(statement.actions)} without any partition key",
            )
        for action, allowed in (
            ("s3:ListBucket", LISTED),
            ("s3:ListBucketVersions", VERSIONS.get(function, set())),
        ):
            if action not in statement.actions:
                continue
            # A condition with IfExists holds for a list without a prefix, which is of the whole bucket.
            prefixes = set(as_list(statement.condition.get("StringLike", {}).get("s3:prefix", "*")))
            self.expect(
                bool(prefixes) and prefixes <= allowed,
                f"{function}: {action} on more than {', '.join(sorted(each.rstrip('*') for each in allowed))}",
            )

    def check_lists(self, function: str, statements: list[Statement], bucket: str) -> None:
        """What is read may be listed, and nothing else: without the right to list, S3 answers 403 for what is not there, as it
        does where the right to read is missing."""
        read: set[str] = set()
        listed: set[str] = set()
        for statement in statements:
            if "s3:GetObject" in statement.actions:
                read |= {str(each).removeprefix(f"{bucket}.Arn/") for each in statement.resources}
            if "s3:ListBucket" in statement.actions and f"{bucket}.Arn" in statement.resources:
                listed |= set(as_list(statement.condition.get("StringLike", {}).get("s3:prefix", [])))
        read -= SIGNED.get(function, set())
        for keys in sorted(read):
            self.expect(
                any(fnmatchcase(keys, each) for each in listed),
                f"{function} reads {keys} and may not list it: what is not there looks like a missing right",
            )
        for keys in sorted(listed - LISTS_MORE.get(function, set())):
            self.expect(any(fnmatchcase(each, keys) for each in read), f"{function} lists {keys}, of which it reads nothing")

    @staticmethod
    def keeps_dead_letters(function: str, statement: Statement) -> bool:
        """What SAM gives a function whose failed changes Lambda keeps in a bucket."""
        return function in WOKEN_BY_THE_STREAM and is_for_dead_letters(statement.actions, statement.resources)

    def policies(self) -> Json:
        """What each function may do, by the name of its crate. Resources are named as in the template."""
        return {
            function: [
                {"actions": each.actions, "resources": each.resources, "condition": each.condition}
                for each in self.statements(logical_id)
            ]
            for logical_id, function in sorted(self.functions.items(), key=lambda item: item[1])
        }

    # What is kept.

    def expect_properties(self, name: str, properties: Json, wanted: Json) -> None:
        for key, value in wanted.items():
            self.expect(properties.get(key) == value, f"{name}: {key} is {json.dumps(properties.get(key))}")

    def expect_retained(self, name: str, resource: Json) -> None:
        """It stays when the stack is deleted. What a first deployment that fails has made goes, where it can: an empty bucket is
        deleted, a protected table is not, and would stop the roll-back."""
        is_protected = resource["Properties"].get("DeletionProtectionEnabled", False)
        wanted = "Retain" if is_protected else "RetainExceptOnCreate"
        self.expect(resource.get("DeletionPolicy") == wanted, f"{name}: DeletionPolicy is not {wanted}")
        self.expect(resource.get("UpdateReplacePolicy") == "Retain", f"{name}: UpdateReplacePolicy is not Retain")

    def check_table(self) -> None:
        name, table = self.only("AWS::DynamoDB::Table")
        self.expect_retained(name, table)
        keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
        self.expect_properties(
            name,
            table["Properties"],
            {
                "BillingMode": "PAY_PER_REQUEST",
                "KeySchema": keys,
                "AttributeDefinitions": [{"AttributeName": each, "AttributeType": "S"} for each in ("pk", "sk")],
                "TimeToLiveSpecification": {"AttributeName": "expires_at", "Enabled": True},
                "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
                "DeletionProtectionEnabled": True,
                "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
            },
        )

    def check_closed(self, name: str, bucket: Json) -> None:
        """What the owner alone reads, and with TLS alone."""
        self.expect_retained(name, bucket)
        closed = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
        encryption = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        self.expect_properties(
            name,
            bucket["Properties"],
            {
                "PublicAccessBlockConfiguration": dict.fromkeys(closed, True),
                "BucketEncryption": {"ServerSideEncryptionConfiguration": [encryption]},
                "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
            },
        )
        policies = [
            each["Properties"].get("PolicyDocument", {})
            for each in self.of_type("AWS::S3::BucketPolicy").values()
            if plain(each["Properties"].get("Bucket")) == name
        ]
        denied = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [f"{name}.Arn", f"{name}.Arn/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
        statements = [each for policy in policies for each in as_list(policy.get("Statement"))]
        read = [
            {**each, "Resource": [plain(resource) for resource in as_list(each.get("Resource"))]} for each in statements
        ]
        self.expect(
            any(all(each.get(key) == value for key, value in denied.items()) for each in read),
            f"{name}: its policy lets requests without TLS pass",
        )
        self.expect(all(each.get("Effect") == "Deny" for each in statements), f"{name}: its policy allows something")

    def check_bucket(self) -> None:
        for name, bucket in self.of_type("AWS::S3::Bucket").items():
            self.check_closed(name, bucket)
        for kind in ("AWS::S3::BucketPolicy", "AWS::ApiGateway::Account"):
            for name, each in self.of_type(kind).items():
                self.expect_retained(name, each)
        for name, bucket in self.buckets().items():
            self.check_kept(name, bucket["Properties"])

    def check_kept(self, name: str, properties: Json) -> None:
        self.expect_properties(name, properties, {"VersioningConfiguration": {"Status": "Enabled"}})
        rules = [
            rule
            for rule in properties.get("LifecycleConfiguration", {}).get("Rules", [])
            if rule["Status"] == "Enabled"
        ]
        self.expect(
            any(rule.get("Prefix") == "uploads/" and rule.get("ExpirationInDays") == 1 for rule in rules),
            f"{name}: uploads/ does not end after a day",
        )
        for rule in rules:
            self.expect(
                rule.get("Prefix") == "uploads/" or not {"ExpirationInDays", "ExpirationDate"} & set(rule),
                f"{name}: the lifecycle rule {rule.get('Id')} deletes what is kept for ever",
            )
        everywhere = [rule for rule in rules if not rule.get("Prefix") and not rule.get("TagFilters")]
        self.expect(
            {"DaysAfterInitiation": 1} in [rule.get("AbortIncompleteMultipartUpload") for rule in everywhere],
            f"{name}: unfinished multipart uploads do not end after a day",
        )
        self.expect(
            {"NoncurrentDays": {"Ref": "NoncurrentDays"}}
            in [rule.get("NoncurrentVersionExpiration") for rule in everywhere],
            f"{name}: noncurrent versions do not end after NoncurrentDays",
        )
    # Seen from outside.

    def check_logs(self) -> None:
        groups = self.of_type("AWS::Logs::LogGroup")
        for name, group in groups.items():
            self.expect("RetentionInDays" in group["Properties"], f"{name}: logs are kept for ever")
        for logical_id, function in self.functions.items():
            logging_config = self.resources[logical_id]["Properties"].get("LoggingConfig", {})
            self.expect(
                plain(logging_config.get("LogGroup")) in groups,
                f"{function} logs to a group that is not the template's",
            )
        _, stage = self.only("AWS::ApiGateway::Stage")
        destination = str(plain(stage["Properties"].get("AccessLogSetting", {}).get("DestinationArn")))
        self.expect(destination.removesuffix(".Arn") in groups, "access logs go to a group that is not the template's")

    def check_alarms(self) -> None:
        topics = self.of_type("AWS::SNS::Topic")
        alarms = self.of_type("AWS::CloudWatch::Alarm")
        # One that is there only on demand may cost something.
        always = [name for name, alarm in alarms.items() if "Condition" not in alarm]
        self.expect(len(always) <= FREE_ALARMS, f"{len(always)} alarms, of which {FREE_ALARMS} cost nothing")
        for name, alarm in alarms.items():
            actions = [plain(action) for action in alarm["Properties"].get("AlarmActions", [])]
            self.expect(bool(actions) and set(actions) <= set(topics), f"{name} notifies no topic")
        self.check_dead_letters_are_published(topics)
        watched = {alarm["Properties"].get("MetricName") for alarm in alarms.values()}
        wanted = {"5XXError", "Latency", "Throttles", "ConditionalCheckFailedRequests", "TransactionConflict"}
        wanted |= {"ReadThrottleEvents", "WriteThrottleEvents", "FunctionFaults", "CutOffAnswers", "RequestDollars"}
        for metric in sorted(wanted - watched):
            self.fail(f"nothing watches {metric}")
        self.check_ages(alarms)
        for name, dashboard in self.of_type("AWS::CloudWatch::Dashboard").items():
            self.expect("Condition" in dashboard, f"{name} costs $3.00 a month, and cannot be left out")
        filters = self.of_type("AWS::Logs::MetricFilter").values()
        made = {metric["MetricName"] for each in filters for metric in each["Properties"]["MetricTransformations"]}
        for metric in ("FunctionFaults", "CutOffAnswers"):
            self.expect(metric in made, f"nothing makes the metric {metric}")


    def check_ages(self, alarms: Json) -> None:
        """Something that is woken later and later is seen, before what it is woken by expires."""
        watched = {
            (alarm["Properties"].get("MetricName"), plain(dimension["Value"]))
            for alarm in alarms.values()
            for dimension in alarm["Properties"].get("Dimensions", [])
        }
        for logical_id, function in self.functions.items():
            if function in WOKEN_BY_THE_STREAM:
                self.expect(("IteratorAge", logical_id) in watched, f"nothing watches how far {function} is behind the stream")
        for queues in WOKEN_BY_QUEUES.values():
            # What has failed waits for long, in all others.
            queue = f"{queues[0]}.QueueName"
            seen = ("ApproximateAgeOfOldestMessage", queue) in watched
            self.expect(seen, f"nothing watches how long messages wait in {queues[0]}")

    def check_dead_letters_are_published(self, topics: Json) -> None:
        """S3 publishes each dead letter to a topic, which the topic has to allow before the bucket is made."""
        dead_letters = self.resources.get(DEAD_LETTERS, {})
        properties = dead_letters.get("Properties", {})
        configurations = properties.get("NotificationConfiguration", {}).get("TopicConfigurations", [])
        notified = {plain(each["Topic"]) for each in configurations if each["Event"] == "s3:ObjectCreated:*"}
        self.expect(bool(notified) and notified <= set(topics), f"{DEAD_LETTERS}: no topic hears of them")
        may_publish: dict[str, set[str]] = {}
        for name, policy in self.of_type("AWS::SNS::TopicPolicy").items():
            for statement in as_list(policy["Properties"]["PolicyDocument"]["Statement"]):
                if statement.get("Condition") != {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}:
                    self.fail(f"{name}: other accounts may publish to the topic")
                for topic in as_list(statement["Resource"]):
                    may_publish.setdefault(plain(topic), set()).update(as_list(statement["Principal"].get("Service")))
            depends = as_list(dead_letters.get("DependsOn"))
            self.expect(name in depends, f"{DEAD_LETTERS}: made before it may publish to {name}")
        # A policy takes the place of the one that lets alarms publish to a topic.
        for topic in sorted(notified):
            for service in ("cloudwatch.amazonaws.com", "s3.amazonaws.com"):
                self.expect(service in may_publish.get(topic, set()), f"{topic}: {service} may not publish to it")


def check(template: Json, code: Code) -> list[str]:
    try:
        return Check(template, code).run()
    except InvalidDocumentException as error:
        return [f"SAM refuses the template: {cause.message}" for cause in error.causes]


# Least rights: the calls of a test run, as tests/src/record.rs writes them, against the rights of the functions.


@dataclass(frozen=True, order=True)
class Right:
    """An action, and the keys that it may be used on."""

    action: str
    keys: str

    def covers(self, call: "RecordedCall") -> bool:
        return self.action in call.takes() and fnmatchcase(call.key, self.keys)


@dataclass(frozen=True, order=True)
class RecordedCall:
    """A call that a function made, or signed for others."""

    function: str
    action: str
    operation: str
    key: str

    def takes(self) -> set[str]:
        """The rights that it takes: who reads has to tell a key that is not there from one that it may not read."""
        is_read = self.action == "s3:GetObject" and f"{self.key.split('/')[0]}/*" not in SIGNED.get(self.function, set())
        return {self.action, "s3:ListBucket"} if is_read else {self.action}

    def __str__(self) -> str:
        return f"{self.action} on {self.key or 'nothing'} ({self.operation})"


def rights_of(statements: list[Json]) -> set[Right]:
    """A function's rights, one by one, as finely as the policies have them."""
    rights = set()
    for statement in statements:
        # `Null` says that there is a key, and not which.
        compared = [keys for operator, keys in statement["condition"].items() if operator != "Null"]
        conditions = {key: as_list(value) for keys in compared for key, value in keys.items()}
        if is_for_dead_letters(statement["actions"], statement["resources"]):
            # Lambda itself keeps what failed there.
            continue
        for action in statement["actions"]:
            if action.startswith(("events:", "sqs:")):
                # The bus and the queues have no key.
                keys = [""]
            elif action.startswith("dynamodb:"):
                keys = conditions.get("dynamodb:LeadingKeys", ["*"])
            elif action in ("s3:ListBucket", "s3:ListBucketVersions"):
                keys = conditions.get("s3:prefix", ["*"])
            else:
                keys = [resource.split("/", 1)[1] for resource in statement["resources"]]
            rights |= {Right(action, key) for key in keys}
    return rights


def recorded(path: Path) -> set[RecordedCall]:
    calls = set()
    with path.open() as lines:
        for event in map(json.loads, lines):
            # What is the same but for ids and hashes is one call.
            key = re.sub(r"^(\w+#|(?:uploads/bodies|\w+)/).*", r"\1...", event["key"])
            calls.add(RecordedCall(event["function"], event["action"], event["operation"], key))
    # What the process does by itself is not a function's: `serve` makes its first user, tests look at the stores.
    return {call for call in calls if call.function != "none"}


def compare_rights(policies: dict[str, set[Right]], calls: set[RecordedCall]) -> list[str]:
    failures = []
    for function in sorted({call.function for call in calls} - set(policies)):
        failures.append(f"{function} makes calls, and is no function of the template")
    for function, rights in sorted(policies.items()):
        made = [call for call in sorted(calls) if call.function == function]
        for call in made:
            for action in sorted(call.takes()):
                if not any(right.action == action and right.covers(call) for right in rights):
                    failures.append(f"{function} calls {call}, and has no right to {action}")
        for right in sorted(rights):
            if not any(right.covers(call) for call in made):
                failures.append(f"{function} may {right.action} on {right.keys}, and no test makes it do so")
    return failures


def check_calls(policies: dict[str, list[Json]], path: Path) -> int:
    rights = {function: rights_of(statements) for function, statements in policies.items()}
    calls = recorded(path)
    failures = compare_rights(rights, calls)
    for line in failures:
        print(f"rights: {line}")
    if failures:
        return 1
    # Each right is taken away once, unless a wider one stands beside it, and one too many is given: it has to be seen.
    count = 0
    for function, own in rights.items():
        for right in own:
            count += 1
            is_within = any(
                other != right and other.action == right.action and fnmatchcase(right.keys, other.keys) for other in own
            )
            for broken in (own if is_within else own - {right}, own | {Right(right.action, "OTHER#*")}):
                if broken != own and not compare_rights({**rights, function: broken}, calls):
                    print(f"rights: it goes unseen that {function} has other rights than it needs: {right}")
                    return 1
    print(f"rights: the {count} rights of {len(rights)} functions are what {len(calls)} different calls need")
    return 0


# The self-test: ways to break the template or the code, each with words of the failure that it has to make.

Mutation = Callable[[Json, Code], Any]


def resource(template: Json, name: str) -> Json:
    return template["Resources"][name]


def properties(template: Json, name: str) -> Json:
    return resource(template, name)["Properties"]


def own_statements(template: Json, name: str) -> list[Json]:
    return next(policy["Statement"] for policy in properties(template, name)["Policies"] if "Statement" in policy)


def shared_statements(template: Json, name: str) -> list[Json]:
    return properties(template, name)["PolicyDocument"]["Statement"]


def event(template: Json, function: str, name: str) -> Json:
    return properties(template, function)["Events"][name]["Properties"]


def front_door(template: Json) -> Json:
    return properties(template, "FrontDoor")["DistributionConfig"]


def edge_key(template: Json) -> Json:
    return properties(template, "ObjectsAtTheEdge")["CachePolicyConfig"]["ParametersInCacheKeyAndForwardedToOrigin"]


MUTATIONS: list[tuple[str, Mutation, str]] = [
    (
        "a route is missing",
        lambda t, c: properties(t, "Tags")["Events"].pop("Get"),
        "GET /{owner}/{slug}/tags does not lead to tags",
    ),
    (
        "a route has another method",
        lambda t, c: event(t, "Refs", "Get").update(Method="POST"),
        "POST /{owner}/{slug}/refs leads to refs",
    ),
    (
        "a route leads elsewhere",
        lambda t, c: event(t, "Refs", "Get").update(Path="/{owner}/{slug}/heads"),
        "GET /{owner}/{slug}/refs does not lead to refs",
    ),
    (
        "a route too many",
        lambda t, c: properties(t, "Health")["Events"].update(
            More={"Type": "Api", "Properties": {"RestApiId": {"Ref": "Api"}, "Method": "GET", "Path": "/ready"}}
        ),
        "no such route",
    ),
    ("a route takes any method", lambda t, c: event(t, "Health", "Get").update(Method="ANY"), "takes any method"),
    (
        "the code has a new route",
        lambda t, c: c.routes.add(("POST", "/{owner}/{slug}/fsck", "fsck")),
        "POST /{owner}/{slug}/fsck does not lead to fsck",
    ),
    (
        "fetch is buffered",
        lambda t, c: event(t, "Fetch", "Post").pop("ResponseTransferMode"),
        "fetch streams, and the integration is",
    ),
    (
        "refs is streamed",
        lambda t, c: event(t, "Refs", "Get").update(ResponseTransferMode="RESPONSE_STREAM"),
        "refs does not stream, and the integration is",
    ),
    (
        "the door leaves before fetch is done",
        lambda t, c: event(t, "Fetch", "Post").pop("TimeoutInMillis"),
        "fetch may take 180 seconds",
    ),
    (
        "a stream is silent for too long",
        lambda t, c: setattr(c, "answer_within", 390),
        "push may be silent for 295 seconds",
    ),
    (
        "a front door for all",
        lambda t, c: resource(t, "FrontDoor").pop("Condition"),
        "the front door is there for all",
    ),
    (
        "a front door that waits for less than the hub",
        lambda t, c: t["Mappings"]["FrontDoorSeconds"]["60"].update(AnswerWithin="58"),
        "the hub gives up after 58 seconds, and the front door after 60",
    ),
    (
        "a front door with a time of its own",
        lambda t, c: front_door(t)["Origins"][0]["CustomOriginConfig"].update(OriginReadTimeout=30),
        "the front door waits for 30",
    ),
    (
        "a way around the front door",
        lambda t, c: properties(t, "Api").pop("Policy"),
        "open to all beside the front door",
    ),
    (
        "a front door whose policy is not deployed",
        lambda t, c: properties(t, "Api").pop("AlwaysDeploy"),
        "a new policy does not count until a route changes",
    ),
    (
        "a way around the front door for who knows another secret",
        lambda t, c: front_door(t)["Origins"][0]["OriginCustomHeaders"][0].update(HeaderValue="secret"),
        "open to all beside the front door",
    ),
    (
        "a claim without an issuer",
        lambda t, c: t["Rules"].pop("AdminClaimWithIssuer"),
        "no rule says that OidcAdminClaim needs OidcIssuer",
    ),
    (
        "an issuer that is no URL",
        lambda t, c: t["Parameters"]["OidcIssuer"].update(AllowedPattern="^(https://[^ ?#@]{1,120})?$"),
        "OidcIssuer takes 'https://['",
    ),
    (
        "a parameter that is not tried",
        lambda t, c: c.tried.pop("OidcAudience"),
        "does not set OidcAudience",
    ),
    (
        "a parameter that is tried and gone",
        lambda t, c: c.tried.update(Table="hub"),
        "sets Table, which is no parameter",
    ),
    (
        "a parameter that is tried as it is anyway",
        lambda t, c: c.tried.update(NoncurrentDays="35"),
        "leaves NoncurrentDays as it is",
    ),
    (
        "a parameter that is tried with what it may not be",
        lambda t, c: c.tried.update(OidcIssuer="http://accounts.example.com"),
        "OidcIssuer may not be 'http://accounts.example.com'",
    ),
    (
        "a parameter that is tried with none of its values",
        lambda t, c: c.tried.update(FrontDoorSeconds="61"),
        "FrontDoorSeconds may not be '61'",
    ),
    (
        "a secret of the front door that is shown",
        lambda t, c: t["Parameters"]["FrontDoorSecret"].pop("NoEcho"),
        "FrontDoorSecret can be looked up",
    ),
    (
        "an edge that keeps pages",
        lambda t, c: front_door(t)["DefaultCacheBehavior"].update(CachePolicyId={"Ref": "ObjectsAtTheEdge"}),
        "the front door keeps answers of all kinds",
    ),
    (
        "an edge that keeps one's 404 for others",
        lambda t, c: front_door(t)["CustomErrorResponses"].pop(2),
        "the front door repeats a 404 to others",
    ),
    (
        "an edge that keeps what a presigned URL opens",
        lambda t, c: front_door(t)["CacheBehaviors"][1].update(CachePolicyId={"Ref": "ObjectsAtTheEdge"}),
        "the front door keeps what a presigned URL opens",
    ),
    (
        "presigned URLs with the front door's path in them",
        lambda t, c: front_door(t)["CacheBehaviors"][1].pop("FunctionAssociations"),
        "the front door asks the bucket for other keys",
    ),
    (
        "a front door that shows the bucket its secret",
        lambda t, c: front_door(t)["Origins"][1].update(OriginCustomHeaders=[{"HeaderName": "Referer", "HeaderValue": "x"}]),
        "the front door shows the bucket more than a URL",
    ),
    (
        "a front door with a right to the bucket",
        lambda t, c: front_door(t)["Origins"][1].update(S3OriginConfig={"OriginAccessIdentity": ""}),
        "the front door may read the bucket without a presigned URL",
    ),
    (
        "an edge that keeps raw files",
        lambda t, c: front_door(t)["CacheBehaviors"][0].update(PathPattern="/*/raw/*"),
        "the front door keeps /*/raw/*",
    ),
    (
        "an edge that gives private bytes to others",
        lambda t, c: edge_key(t)["HeadersConfig"].update(Headers=["Accept"]),
        "the front door gives one what another's token has opened",
    ),
    (
        "an edge that takes one repository for another",
        lambda t, c: edge_key(t)["QueryStringsConfig"].update(QueryStrings=[]),
        "the front door gives one repository's for another's",
    ),
    (
        "an edge that keeps what is not to be kept",
        lambda t, c: properties(t, "ObjectsAtTheEdge")["CachePolicyConfig"].update(MinTTL=60),
        "the front door keeps /o/* for longer than the hub says",
    ),
    (
        "an edge that keeps for a year",
        lambda t, c: properties(t, "ObjectsAtTheEdge")["CachePolicyConfig"].update(MaxTTL=31536000),
        "the front door keeps /o/* for more than a day",
    ),
    (
        "a front door without TLS",
        lambda t, c: front_door(t)["DefaultCacheBehavior"].update(ViewerProtocolPolicy="allow-all"),
        "without TLS",
    ),
    (
        "a front door that takes no pushes",
        lambda t, c: front_door(t)["DefaultCacheBehavior"].update(AllowedMethods=["GET", "HEAD"]),
        "the front door takes not all methods",
    ),
    (
        "a front door that takes tokens away",
        lambda t, c: front_door(t)["DefaultCacheBehavior"].pop("OriginRequestPolicyId"),
        "the front door keeps something of * back",
    ),
    (
        "a buffered answer is waited for too long",
        lambda t, c: event(t, "Negotiate", "Post").update(TimeoutInMillis=60000),
        "for a buffered answer",
    ),
    (
        "a main buffers what streams",
        lambda t, c: c.streaming_mains.discard("object"),
        "functions/object/src/main.rs buffers",
    ),
    ("a crate without a function", lambda t, c: c.crates.add("fsck"), "functions/fsck has no function"),
    ("a crate that nothing leads to", lambda t, c: c.crates.add("fsck"), "nothing leads to functions/fsck"),
    (
        "a function that nothing wakes",
        lambda t, c: properties(t, "Compact")["Events"].pop("Changes"),
        "compact is not woken by the stream",
    ),
    (
        "every change wakes",
        lambda t, c: event(t, "Compact", "Changes").pop("FilterCriteria"),
        "compact is woken by every change",
    ),
    (
        "every insertion wakes",
        lambda t, c: event(t, "Compact", "Changes")["FilterCriteria"]["Filters"][0].update(
            Pattern='{"eventName": ["INSERT"]}'
        ),
        "more than one kind of change",
    ),
    (
        "tried for ever",
        lambda t, c: event(t, "Compact", "Changes").pop("MaximumRetryAttempts"),
        "compact: a change that fails is tried for ever",
    ),
    (
        "changes that are gone before they are dead letters",
        lambda t, c: event(t, "Events", "Changes").update(MaximumRecordAgeInSeconds=86400),
        "events: a change may be gone before it is a dead letter",
    ),
    (
        "failures that are forgotten",
        lambda t, c: event(t, "Compact", "Changes").pop("DestinationConfig"),
        "compact: what fails for good is forgotten",
    ),
    (
        "dead letters that no topic hears of",
        lambda t, c: properties(t, "DeadLetters").pop("NotificationConfiguration"),
        "DeadLetters: no topic hears of them",
    ),
    (
        "alarms that no topic takes",
        lambda t, c: shared_statements(t, "AlarmTopicPolicy")[0].update(Principal={"Service": ["s3.amazonaws.com"]}),
        "cloudwatch.amazonaws.com may not publish to it",
    ),
    (
        "a topic that anybody may write to",
        lambda t, c: shared_statements(t, "AlarmTopicPolicy")[0].pop("Condition"),
        "other accounts may publish to the topic",
    ),
    (
        "a bucket that is made before it may publish",
        lambda t, c: resource(t, "DeadLetters").pop("DependsOn"),
        "made before it may publish to AlarmTopicPolicy",
    ),
    (
        "dead letters that anybody may read",
        lambda t, c: properties(t, "DeadLetters")["PublicAccessBlockConfiguration"].update(BlockPublicPolicy=False),
        "DeadLetters: PublicAccessBlockConfiguration",
    ),
    (
        "dead letters without TLS",
        lambda t, c: t["Resources"].pop("DeadLettersPolicy"),
        "DeadLetters: its policy lets requests without TLS pass",
    ),
    (
        "a function that does not know the bus",
        lambda t, c: properties(t, "Events")["Environment"]["Variables"].pop("MUSEHUB_EVENT_BUS"),
        "events is not given MUSEHUB_EVENT_BUS",
    ),
    (
        "events on any bus",
        lambda t, c: own_statements(t, "Events")[1].update(Resource="*"),
        "events: events:PutEvents is no call to the table or the bucket",
    ),
    (
        "another function that publishes events",
        lambda t, c: own_statements(t, "Compact").append(
            {"Effect": "Allow", "Action": ["events:PutEvents"], "Resource": {"Fn::GetAtt": ["EventBus", "Arn"]}}
        ),
        "compact: events:PutEvents is no call to the table or the bucket",
    ),
    (
        "a function that its queue does not wake",
        lambda t, c: properties(t, "Deliver")["Events"].pop("Messages"),
        "deliver is not woken by WebhookQueue",
    ),
    (
        "a function that its second queue does not wake",
        lambda t, c: properties(t, "Deliver")["Events"].pop("FurtherAttempts"),
        "deliver is not woken by WebhookRetries",
    ),
    (
        "one owner takes half of the deliveries",
        lambda t, c: event(t, "Deliver", "Messages").update(ScalingConfig={"MaximumConcurrency": 4}),
        "one owner's receivers may hold half of 4",
    ),
    ("the code has more lanes", lambda t, c: setattr(c, "lanes", 3), "one owner's receivers may hold half of 5"),
    (
        "a second attempt at once",
        lambda t, c: properties(t, "WebhookRetries").pop("DelaySeconds"),
        "WebhookRetries does not wait after the first attempt",
    ),
    (
        "deliveries that fail are forgotten",
        lambda t, c: event(t, "Deliver", "Messages").pop("FunctionResponseTypes"),
        "deliver names what failed, and is not listened to",
    ),
    (
        "deliveries take all concurrency",
        lambda t, c: event(t, "Deliver", "Messages").pop("ScalingConfig"),
        "deliver may take all",
    ),
    ("a queue without order", lambda t, c: properties(t, "WebhookQueue").pop("FifoQueue"), "WebhookQueue keeps no order"),
    (
        "dead letters in the clear",
        lambda t, c: properties(t, "WebhookDeadLetters").pop("SqsManagedSseEnabled"),
        "WebhookDeadLetters is not encrypted",
    ),
    (
        "a queue that gives up early",
        lambda t, c: properties(t, "WebhookRetries")["RedrivePolicy"].update(maxReceiveCount=3),
        "gives up after 3 attempts",
    ),
    ("the code tries more often", lambda t, c: setattr(c, "attempts", 20), "and the code after 20"),
    (
        "deliveries that are handed over twice",
        lambda t, c: properties(t, "WebhookQueue").update(VisibilityTimeout=180),
        "hands over again what is under way",
    ),
    (
        "deliveries that are given up without an alarm",
        lambda t, c: t["Resources"].pop("WebhookDeadLettersAlarm"),
        "deliver: no alarm watches its dead letters",
    ),
    (
        "a queue that is not named to the function",
        lambda t, c: properties(t, "Deliver").pop("Environment"),
        "deliver is not given MUSEHUB_WEBHOOK_QUEUE",
    ),
    (
        "another function puts messages back",
        lambda t, c: own_statements(t, "Push")[0].update(
            Action=["sqs:ChangeMessageVisibility"], Resource={"Fn::GetAtt": "WebhookQueue.Arn"}
        ),
        "no call to the table or the bucket",
    ),
    (
        "another function deletes packs",
        lambda t, c: shared_statements(t, "ReadsPacks")[0].update(Action=["s3:GetObject", "s3:DeleteObject"]),
        "push may delete packs",
    ),
    ("a function without a crate", lambda t, c: c.crates.discard("openapi"), "there is no functions/openapi"),
    (
        "another binary",
        lambda t, c: resource(t, "Push")["Metadata"]["BuildProperties"].update(Binary="refs"),
        "builds refs more than once",
    ),
    (
        "another processor",
        lambda t, c: t["Globals"]["Function"].update(Architectures=["x86_64"]),
        "Architectures is not arm64",
    ),
    (
        "a variable is missing",
        lambda t, c: t["Globals"]["Function"]["Environment"]["Variables"].pop("MUSEHUB_IDS"),
        "is not given MUSEHUB_IDS",
    ),
    (
        "a variable that nothing reads",
        lambda t, c: t["Globals"]["Function"]["Environment"]["Variables"].update(MUSEHUB_COLOUR="red"),
        "is given MUSEHUB_COLOUR",
    ),
    (
        "a secret in the template",
        lambda t, c: t["Globals"]["Function"]["Environment"]["Variables"].update(ACCESS_TOKEN_SECRET="x"),
        "the template holds ACCESS_TOKEN_SECRET",
    ),
    ("the code demands a secret", lambda t, c: c.required.add("ACCESS_TOKEN_SECRET"), "demands ACCESS_TOKEN_SECRET"),
    ("the code reads a new variable", lambda t, c: c.optional.add("MUSEHUB_MOTTO"), "is not given MUSEHUB_MOTTO"),
    ("a wildcard", lambda t, c: own_statements(t, "Push")[0].update(Action=["dynamodb:*"]), "dynamodb:* is a wildcard"),
    (
        "a wildcard in a shared policy",
        lambda t, c: shared_statements(t, "ReadsPacks")[0].update(Action="s3:Get*"),
        "s3:Get* is a wildcard",
    ),
    (
        "all tables",
        lambda t, c: own_statements(t, "Push")[0].update(Resource="*"),
        "dynamodb:PutItem on *, which is not the table",
    ),
    (
        "any partition",
        lambda t, c: own_statements(t, "Push")[0].pop("Condition"),
        "dynamodb:PutItem on any partition key",
    ),
    (
        "a call without any partition",
        lambda t, c: own_statements(t, "Push")[0]["Condition"].pop("Null"),
        "dynamodb:PutItem without any partition key",
    ),
    (
        "the whole bucket",
        lambda t, c: shared_statements(t, "ReadsPacks")[0].update(Resource={"Fn::Sub": "${Bucket.Arn}/*"}),
        "no prefix of keys in the bucket",
    ),
    (
        "the list of the whole bucket for one who lists much of it",
        lambda t, c: own_statements(t, "Stats")[0].pop("Condition"),
        "s3:ListBucket on more than",
    ),
    (
        "the list of the whole bucket where none has a prefix",
        lambda t, c: shared_statements(t, "TakesBodies")[3].update(
            Condition={"StringLikeIfExists": {"s3:prefix": "uploads/bodies/*"}}
        ),
        "s3:ListBucket on more than",
    ),
    (
        "a missing pack looks like a missing right",
        lambda t, c: shared_statements(t, "ReadsPacks").pop(),
        "fetch reads packs/* and may not list it",
    ),
    (
        "a list of what is not read",
        lambda t, c: shared_statements(t, "ReadsPacks")[1]["Condition"]["StringLike"].update({"s3:prefix": ["packs/*", "objects/*"]}),
        "negotiate lists objects/*, of which it reads nothing",
    ),
    (
        "the list of the whole bucket",
        lambda t, c: shared_statements(t, "VerifiesUploads")[0].pop("Condition"),
        "s3:ListBucket on more than",
    ),
    (
        "the versions of the whole bucket",
        lambda t, c: own_statements(t, "Compact")[5].pop("Condition"),
        "s3:ListBucketVersions on more than",
    ),
    (
        "versions for one who purges nothing",
        lambda t, c: own_statements(t, "Stats").append(copy.deepcopy(own_statements(t, "Compact")[3])),
        "stats may look at or delete versions",
    ),
    (
        "another service",
        lambda t, c: own_statements(t, "Push")[0].update(Action=["sqs:SendMessage"]),
        "no call to the table or the bucket",
    ),
    (
        "a policy of AWS",
        lambda t, c: properties(t, "Refs")["Policies"].append("arn:aws:iam::aws:policy/AmazonS3FullAccess"),
        "none of the template's",
    ),
    (
        "the boundary is narrower",
        lambda t, c: shared_statements(t, "FunctionBoundary")[0]["Action"].remove("dynamodb:Query"),
        "the boundary takes dynamodb:Query on Table.Arn away",
    ),
    ("no boundary", lambda t, c: t["Globals"]["Function"].pop("PermissionsBoundary"), "has no permissions boundary"),
    (
        "a table that goes with the stack",
        lambda t, c: resource(t, "Table").pop("DeletionPolicy"),
        "Table: DeletionPolicy is not Retain",
    ),
    (
        "a table that stops the roll-back of its stack",
        lambda t, c: resource(t, "Table").update(DeletionPolicy="RetainExceptOnCreate"),
        "Table: DeletionPolicy is not Retain",
    ),
    (
        "a bucket that a failed deployment leaves behind",
        lambda t, c: resource(t, "Bucket").update(DeletionPolicy="Retain"),
        "Bucket: DeletionPolicy is not RetainExceptOnCreate",
    ),
    (
        "a role that a failed deployment leaves behind",
        lambda t, c: resource(t, "GatewayAccount").update(DeletionPolicy="Retain"),
        "GatewayAccount: DeletionPolicy is not RetainExceptOnCreate",
    ),
    (
        "no recovery",
        lambda t, c: properties(t, "Table").pop("PointInTimeRecoverySpecification"),
        "Table: PointInTimeRecoverySpecification",
    ),
    (
        "no TTL",
        lambda t, c: properties(t, "Table")["TimeToLiveSpecification"].update(AttributeName="ttl"),
        "Table: TimeToLiveSpecification",
    ),
    (
        "a public bucket",
        lambda t, c: properties(t, "Bucket")["PublicAccessBlockConfiguration"].update(BlockPublicPolicy=False),
        "Bucket: PublicAccessBlockConfiguration",
    ),
    (
        "a bucket without versions",
        lambda t, c: properties(t, "Bucket").pop("VersioningConfiguration"),
        "Bucket: VersioningConfiguration",
    ),
    (
        "plain HTTP",
        lambda t, c: properties(t, "BucketPolicy")["PolicyDocument"]["Statement"][0].pop("Condition"),
        "without TLS",
    ),
    (
        "packs that expire",
        lambda t, c: properties(t, "Bucket")["LifecycleConfiguration"]["Rules"][2].update(ExpirationInDays=90),
        "deletes what is kept for ever",
    ),
    (
        "uploads that stay",
        lambda t, c: properties(t, "Bucket")["LifecycleConfiguration"]["Rules"].pop(0),
        "uploads/ does not end after a day",
    ),
    ("an edge API", lambda t, c: properties(t, "Api")["EndpointConfiguration"].update(Type="EDGE"), "not Regional"),
    ("all types are binary", lambda t, c: properties(t, "Api").update(BinaryMediaTypes=["*/*"]), "BinaryMediaTypes"),
    (
        "headers in the access log",
        lambda t, c: properties(t, "Api")["AccessLogSetting"].update(Format='{"a":"$context.authorizer.principalId"}'),
        "authorizer.principalId",
    ),
    (
        "bodies in the execution log",
        lambda t, c: properties(t, "Api")["MethodSettings"][0].update(LoggingLevel="INFO"),
        "execution logs",
    ),
    (
        "negotiate is throttled first",
        lambda t, c: properties(t, "Api")["MethodSettings"].pop(),
        "negotiate is throttled no later",
    ),
    (
        "fetch is throttled as others are",
        lambda t, c: properties(t, "Api")["MethodSettings"][1].update(ThrottlingRateLimit=100),
        "fetch is throttled no earlier",
    ),
    ("a cut-off answer that ends well", lambda t, c: c.streaming_mains.discard("object"), "object"),
    (
        "nothing counts cut-off answers",
        lambda t, c: t["Resources"].pop("CutOffAnswers"),
        "nothing makes the metric CutOffAnswers",
    ),
    (
        "a tenth alarm",
        lambda t, c: t["Resources"]["DollarsAlarm"].pop("Condition"),
        "10 alarms",
    ),
    (
        "a dashboard for all",
        lambda t, c: t["Resources"]["Dashboard"].pop("Condition"),
        "Dashboard costs $3.00 a month",
    ),
    (
        "a stream that is read too slowly",
        lambda t, c: t["Resources"].pop("EventsAgeAlarm"),
        "nothing watches how far events is behind the stream",
    ),
    (
        "messages that wait",
        lambda t, c: t["Resources"].pop("WebhookQueueAgeAlarm"),
        "nothing watches how long messages wait in WebhookQueue",
    ),
    (
        "an answer of the door that repeats the token",
        lambda t, c: properties(t, "Api")["GatewayResponses"]["DEFAULT_4XX"]["ResponseTemplates"].update(
            {"application/json": '{"error":"not_found","detail":$context.error.messageString}'}
        ),
        "the door's answer DEFAULT_4XX repeats what came",
    ),
    (
        "an unknown path with a token as 403",
        lambda t, c: properties(t, "Api")["GatewayResponses"]["DEFAULT_4XX"].pop("StatusCode"),
        "the door's answer DEFAULT_4XX has no status of its own",
    ),
    (
        "a refused signature in the door's own words",
        lambda t, c: properties(t, "Api")["GatewayResponses"].pop("INVALID_SIGNATURE"),
        "the door answers INVALID_SIGNATURE in words of its own",
    ),
    (
        "an answer of the door that is no JSON",
        lambda t, c: properties(t, "Api")["GatewayResponses"]["THROTTLED"]["ResponseTemplates"].update(
            {"application/json": "slow down"}
        ),
        "answer THROTTLED is not",
    ),
    (
        "a throttle as 409",
        lambda t, c: properties(t, "Api")["GatewayResponses"]["THROTTLED"].update(StatusCode=409),
        "THROTTLED is a 409",
    ),
    ("logs for ever", lambda t, c: properties(t, "FunctionLogs").clear(), "FunctionLogs: logs are kept for ever"),
    ("a silent alarm", lambda t, c: properties(t, "LatencyAlarm").pop("AlarmActions"), "LatencyAlarm notifies no topic"),
    (
        "throttles without an alarm",
        lambda t, c: t["Resources"].pop("FunctionThrottlesAlarm"),
        "nothing watches Throttles",
    ),
    (
        "a secret that costs money",
        lambda t, c: t["Resources"].update(Secret={"Type": "AWS::SecretsManager::Secret", "Properties": {}}),
        "costs money",
    ),
]


def self_test(template: Json, code: Code, mutations: list[tuple[str, Mutation, str]]) -> int:
    if before := check(template, code):
        print("the self-test needs a template without failures, and there are:", *before, sep="\n  ")
        return 1
    unseen = 0
    for what, mutate, wanted in mutations:
        broken, changed = copy.deepcopy(template), copy.deepcopy(code)
        mutate(broken, changed)
        failures = check(broken, changed)
        if not any(wanted in line for line in failures):
            unseen += 1
            print(f"not found: {what}. Wanted {wanted!r}, got {failures}")
    print(f"self-test: {len(mutations) - unseen} of {len(mutations)} broken templates are found out")
    return 1 if unseen else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold template.yaml to the code.")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--policies", action="store_true", help="print each function's rights as JSON")
    parser.add_argument("--calls", type=Path, metavar="FILE", help="compare rights with recorded calls")
    parser.add_argument("--self-test", action="store_true", help="see that broken templates are found out")
    arguments = parser.parse_args()
    template = yaml_parse((arguments.root / "template.yaml").read_text())
    code = Code.read(arguments.root)
    if arguments.self_test:
        is_all = os.environ.get("MUSEHUB_TEST_CASES") == "all"
        return self_test(template, code, MUTATIONS if is_all else MUTATIONS[::8])
    if arguments.policies:
        print(json.dumps(Check(template, code).policies(), indent=2))
        return 0
    if arguments.calls:
        return check_calls(Check(template, code).policies(), arguments.calls)
    failures = check(template, code)
    for line in failures:
        print(f"template.yaml: {line}")
    if not failures:
        print(f"template.yaml: {len(code.routes)} routes to {len(code.crates)} functions, as the code has it")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
