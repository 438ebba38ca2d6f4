"""Tells which statuses each operation of a document was answered with: `seen.py DOCUMENT SEEN`.

DOCUMENT is a file or a URL; SEEN is what `hooks.py` wrote. Fails when an operation was never answered with a success that
the document knows: then it was hardly checked at all.
"""

import json
import sys
import urllib.request
from collections import Counter
from pathlib import Path


def main(document: str, seen: str) -> None:
    if document.startswith("http"):
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(document, timeout=30) as answer:
            paths = json.load(answer)["paths"]
    else:
        paths = json.loads(Path(document).read_text())["paths"]
    counts = Counter(tuple(line.split()) for line in Path(seen).read_text().splitlines())
    unreached = []
    for path, item in paths.items():
        # Schemathesis does not ask for the document itself; it has been read, or nothing of this would have run.
        if document.endswith(path):
            continue
        for value in (value for value in item.values() if "operationId" in value):
            operation = value["operationId"]
            statuses = sorted((status, count) for (name, status), count in counts.items() if name == operation)
            print(f"{operation:16}", *(f"{status}: {count}" for status, count in statuses), sep="  ")
            can_succeed = any(status.startswith("2") for status in value["responses"])
            if can_succeed and not any(status.startswith("2") for status, _ in statuses):
                unreached.append(operation)
    if unreached:
        sys.exit(f"no request succeeded: {', '.join(unreached)}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
