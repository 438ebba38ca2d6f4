"""Which version this commit is.

    version.py                  print it
    version.py ready TAG        fail unless the commit can be released under the tag, with each reason
    version.py notes            print what the changelog says of it
    version.py --self-test      see that each reason is found
"""

import json
import os
import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).parents[2]


class Commit:
    """What the files of a commit say."""

    def __init__(self, root):
        self.cargo = tomllib.loads((root / "Cargo.toml").read_text())
        self.command = tomllib.loads((root / "local/Cargo.toml").read_text())
        self.lock = tomllib.loads((root / "Cargo.lock").read_text())
        self.described = json.loads((root / "docs/openapi.json").read_text())
        self.changelog = (root / "CHANGELOG.md").read_text()

    @property
    def version(self):
        return self.cargo["workspace"]["package"]["version"]

    @property
    def notes(self):
        """The section of the changelog: its lines, without the heading; None if there is none."""
        heading = re.compile(rf"^## \[{re.escape(self.version)}\] - \d{{4}}-\d\d-\d\d$", re.MULTILINE)
        if (begin := heading.search(self.changelog)) is None:
            return None
        section = self.changelog[begin.end() :]
        end = re.search(r"^(## |\[[^]]+\]: )", section, re.MULTILINE)
        return section[: end.start() if end else None].strip()

    def not_ready(self, tag, repository):
        """Why it cannot be released under a tag, in a repository of GitHub."""
        if tag != f"v{self.version}":
            yield f"the tag is {tag}, and Cargo.toml says {self.version}"
        locked = {each["version"] for each in self.lock["package"] if each["name"] == "local"}
        if locked != {self.version}:
            yield f"Cargo.lock says {', '.join(locked)}: `cargo check --workspace` brings it up"
        if (described := self.described["info"]["version"]) != self.version:
            yield f"docs/openapi.json says {described}"
        if not self.notes:
            yield f"CHANGELOG.md has no section '## [{self.version}] - <date>', or an empty one"
        if self.command["package"].get("repository") != repository:
            yield f"[package] of local/Cargo.toml needs `repository = \"{repository}\"`: by that `cargo binstall` finds the files"


def self_test():
    here = "https://github.com/example/hub"

    def commit():
        """One that is ready."""
        commit = Commit(ROOT)
        commit.cargo["workspace"]["package"]["version"] = commit.described["info"]["version"] = "1.2.3"
        next(each for each in commit.lock["package"] if each["name"] == "local")["version"] = "1.2.3"
        commit.command["package"]["repository"] = here
        commit.changelog = "# C\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-02\n\n- New.\n\n## [1.2.2] - 2026-01-01\n\n- Old.\n"
        return commit

    def refused(change):
        broken = commit()
        change(broken)
        reasons = list(broken.not_ready("v1.2.3", here))
        assert len(reasons) == 1, reasons

    ready = commit()
    assert list(ready.not_ready("v1.2.3", here)) == []
    assert ready.notes == "- New.", ready.notes
    assert len(list(ready.not_ready("v1.2.4", here))) == 1
    refused(lambda commit: commit.described["info"].update(version="1.2.2"))
    refused(lambda commit: commit.command["package"].pop("repository"))
    refused(lambda commit: commit.command["package"].update(repository="https://github.com/another/hub"))
    refused(lambda commit: [each.update(version="1.2.2") for each in commit.lock["package"] if each["name"] == "local"])
    for old, new in [("- New.", ""), ("[1.2.3]", "[1.2.30]"), (" - 2026-01-02", "")]:
        refused(lambda commit, old=old, new=new: setattr(commit, "changelog", commit.changelog.replace(old, new)))


def main(arguments):
    match arguments:
        case []:
            print(Commit(ROOT).version)
        case ["ready", tag]:
            repository = f"https://github.com/{os.environ.get('GITHUB_REPOSITORY', '<owner>/<repository>')}"
            reasons = list(Commit(ROOT).not_ready(tag, repository))
            print("\n".join(reasons), file=sys.stderr, end="\n" if reasons else "")
            sys.exit(bool(reasons))
        case ["notes"]:
            print(Commit(ROOT).notes or "")
        case ["--self-test"]:
            self_test()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
