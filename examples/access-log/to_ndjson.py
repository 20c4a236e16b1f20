#!/usr/bin/env python3
"""Turns an access log in combined format into events of the topic logs.access, one JSON object a line.

    ./to_ndjson.py < access.log | curl --data-binary @- -H 'content-type: application/x-ndjson' \
        http://127.0.0.1:8080/v1/events/logs.access
"""

import json
import re
import sys
import uuid
from datetime import datetime, timezone

LINE = re.compile(
    r'(?P<client>\S+) \S+ \S+ \[(?P<at>[^\]]+)\] "(?P<method>\S+) (?P<path>\S+)[^"]*" (?P<status>\d{3}) (?P<bytes>\d+|-)'
    r'(?: "(?P<referrer>[^"]*)" "(?P<agent>.*)")?'
)
NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122: the same line gives the same id


def main() -> None:
    skipped = 0
    for number, line in enumerate(sys.stdin, 1):
        found = LINE.match(line)
        if not found:
            skipped += 1
            print(f"line {number} is not in combined format: {line.rstrip()[:100]}", file=sys.stderr)
            continue
        at = datetime.strptime(found["at"], "%d/%b/%Y:%H:%M:%S %z").astimezone(timezone.utc)
        event = {
            "event_id": str(uuid.uuid5(NAMESPACE, f"{number}:{line}")),
            "at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "client": found["client"],
            "method": found["method"],
            "path": found["path"],
            "status": int(found["status"]),
            "bytes": None if found["bytes"] == "-" else int(found["bytes"]),
            "referrer": None if found["referrer"] in (None, "-") else found["referrer"],
            "agent": None if found["agent"] in (None, "-") else found["agent"],
        }
        print(json.dumps(event))
    if skipped:
        print(f"{skipped} lines skipped", file=sys.stderr)


if __name__ == "__main__":
    main()
