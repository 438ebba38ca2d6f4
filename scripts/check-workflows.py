"""Holds the workflows to what makes a deployment and a release trustworthy. Each failure is one line.

    check-workflows.py              check
    check-workflows.py --self-test  break the workflows in many ways, and see that each is found

`check-jsonschema` knows the form of a workflow, and `zizmor` what is dangerous in one: both run here. Beside them:

- A job that may write anything, or may ask for a token that others trust, runs nothing of this repository and builds nothing.
- Versions that documents tell people to install are those that scripts/requirements pins.
- A workflow that releases uses each script of scripts/release, and the page on releases names each.

scripts/check-workflows.sh makes the environment that this runs in.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from ruamel.yaml import YAML

ROOT = pathlib.Path(__file__).parents[1]
TOOLS = pathlib.Path(sys.executable).parent
WORKFLOWS = ".github/workflows"
# What runs a file of a checkout or of an artifact, or builds. Only `"$RUNNER_TEMP/tools/bin/…"` is named by its path.
RUNS_CODE = re.compile(
    r"(?:^|[;|&(])[ \t]*[\"']?[\w.-]+/|(?:^|[\s;|&(\"'])(?:\./|\.ci/|scripts/)|\b(?:bash|sh|source|eval|chmod)\s|\bgit (?:clone|fetch|pull)\b|\bgh repo clone\b"
    r"|\b(?:cargo|rustup|make|npm|npx|node|docker build|buildah build|podman run)\b|\bpython3? (?!-m venv )",
    re.MULTILINE,
)
PIP_INSTALL = re.compile(r"\bpip\"? install\b.*")


def main(arguments):
    match arguments:
        case []:
            failures = check(ROOT)
        case ["--self-test"]:
            failures = self_test()
        case _:
            sys.exit(__doc__)
    for failure in failures:
        print(f"check-workflows: {failure}", file=sys.stderr)
    sys.exit(bool(failures))


def check(root):
    paths = sorted((root / WORKFLOWS).glob("*.yml"))
    failures = []
    for command in (
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *paths],
        ["zizmor", "--offline", "--quiet", "--no-progress", "--color", "never", "--config", root / ".github/zizmor.yml", *paths],
    ):
        done = subprocess.run([TOOLS / command[0], *command[1:]], capture_output=True, text=True)
        if done.returncode:
            failures.append(f"{command[0]} found faults:\n{done.stdout}{done.stderr}")
    if failures:
        # What cannot be read cannot be looked at any closer.
        return failures
    for path in paths:
        failures += check_rights(path.name, YAML(typ="safe").load(path))
    return [*failures, *check_versions(root), *check_release(root)]


def check_rights(name, workflow):
    for job, body in workflow["jobs"].items():
        permissions = body.get("permissions", workflow.get("permissions"))
        where = f"{name}: {job}"
        if permissions is None:
            yield f"{where} has the rights that the repository's settings give"
            continue
        writes = permissions == "write-all" or "write" in dict(permissions or {}).values()
        for step in body.get("steps", []):
            uses, run = step.get("uses", ""), step.get("run", "")
            if writes and (uses.startswith(("actions/checkout@", "./", "docker://")) or "uses" in body):
                yield f"{where} may write, and uses {uses}"
            if writes and uses.startswith("actions/download-artifact@") and "artifact-ids" not in step.get("with", {}):
                yield f"{where} may write, and takes artifacts that any job may have put there: by artifact-ids alone"
            if writes and (found := RUNS_CODE.search(run)):
                yield f"{where} may write, and runs {found[0].strip()!r}: no code of the repository, nor what a build made"
            for line in PIP_INSTALL.findall(run):
                if "--require-hashes" not in line:
                    yield f"{where} installs from PyPI without hashes: {line}"


def check_versions(root):
    pinned = {}
    for path in (root / "scripts/requirements").glob("*.in"):
        wanted = dict(re.findall(r"^([\w-]+)==(\S+)$", path.read_text(), re.MULTILINE))
        pinned |= wanted
        resolved = dict(re.findall(r"^([\w-]+)==(\S+)", path.with_suffix(".txt").read_text(), re.MULTILINE))
        for package, version in wanted.items():
            if resolved.get(package) != version:
                yield f"{path.name} wants {package} {version}, and its .txt has {resolved.get(package)}: make it again"
    for page in [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]:
        for package, version in re.findall(r"\b([a-z][\w-]+)==([\w.]+)", page.read_text()):
            if package in pinned and pinned[package] != version:
                yield f"{page.name} says {package} {version}, and scripts/requirements {pinned[package]}"


def check_release(root):
    workflow, page = (root / WORKFLOWS / "release.yml").read_text(), (root / "docs/release.md").read_text()
    for script in sorted((root / "scripts/release").glob("*.sh")):
        name = f"scripts/release/{script.name}"
        used = any(name in other.read_text() for other in (root / "scripts/release").glob("*.sh") if other != script)
        if name not in workflow and not used:
            yield f"release.yml does not run {name}"
        if script.name not in page and not used:
            yield f"docs/release.md does not name {name}"


# What is broken, as the file and a text in it, and by what.
BROKEN = [
    (f"{WORKFLOWS}/ci.yml", r"(uses: actions/checkout)@[0-9a-f]{40} # v5.0.0", r"\1@v5"),
    (f"{WORKFLOWS}/ci.yml", r"runs-on: ubuntu-24.04", "run-on: ubuntu-24.04"),
    (f"{WORKFLOWS}/ci.yml", r"^permissions:\n  contents: read\n", ""),
    # As it was once: what builds could take the deployer's role.
    (f"{WORKFLOWS}/deploy.yml", r"(ubuntu-24.04-arm\n.*\n    permissions:\n)", r"\1      id-token: write" "\n"),
    (f"{WORKFLOWS}/deploy.yml", r"\n        with:\n          persist-credentials: false", ""),
    (
        f"{WORKFLOWS}/deploy.yml",
        r"(      # By their numbers)",
        r"      - uses: actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0" "\n        with:\n"
        r"          persist-credentials: false" "\n\\1",
    ),
    (f"{WORKFLOWS}/deploy.yml", r"(          read -ra parameters)", r"          deployment/functions/x" "\n\\1"),
    (f"{WORKFLOWS}/deploy.yml", r"(          read -ra parameters)", r"          python3 deployment/x.py" "\n\\1"),
    (f"{WORKFLOWS}/deploy.yml", r"(          read -ra parameters)", r"          cargo build" "\n\\1"),
    (f"{WORKFLOWS}/deploy.yml", r" --require-hashes", ""),
    (f"{WORKFLOWS}/deploy.yml", r'"\$STACK" --resolve-s3', "${{ inputs.stack }} --resolve-s3"),
    ("scripts/requirements/sam.in", r"aws-sam-cli==\S+", "aws-sam-cli==0.0.1"),
    ("docs/deploy.md", r"aws-sam-cli==\S+", "aws-sam-cli==0.0.1"),
    (f"{WORKFLOWS}/release.yml", r"scripts/release/sbom.sh", "true"),
    (f"{WORKFLOWS}/release.yml", r"artifact-ids: \$\{\{ needs.image.outputs.artifact \}\}", "name: image"),
]


def self_test():
    with ThreadPoolExecutor() as threads:
        return [failure for failure in threads.map(lambda case: not_found(*case), BROKEN) if failure]


def not_found(path, pattern, replacement):
    """Says so if a fault is not found in a copy that has it."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for part in (".github", "docs", "scripts/requirements", "scripts/release"):
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("*.png"))
        for part in ("README.md", "CONTRIBUTING.md"):
            shutil.copy(ROOT / part, root / part)
        file = root / path
        text = file.read_text()
        broken = re.sub(pattern, replacement, text, count=1, flags=re.MULTILINE)
        if broken == text:
            return f"self-test: {path} has no {pattern!r} to break"
        file.write_text(broken)
        return None if check(root) else f"self-test: {path} with {replacement!r} for {pattern!r} is not found"


if __name__ == "__main__":
    main(sys.argv[1:])
