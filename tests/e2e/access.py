"""The figures of an access log in combined format, computed by other means than the platform: plain loops over the lines.

Reads the log from standard input and prints JSON: hourly figures by class of status, the
share of each hour's requests that failed, and the visits of each client.
"""

import json
import re
import sys
from collections import Counter, defaultdict
from datetime import datetime, timezone

LINE = re.compile(r'(\S+) \S+ \S+ \[([^\]]+)\] "(\S+) (\S+)[^"]*" (\d{3}) (\d+|-)')
GAP_S = 30 * 60


def iso(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def main():
    hours = defaultdict(lambda: {"requests": 0, "bytes": 0, "known": 0, "clients": set(), "paths": Counter()})
    failures = defaultdict(Counter)
    requests = defaultdict(list)
    for line in sys.stdin:
        client, at, _, path, status, size = LINE.match(line).groups()
        at = int(datetime.strptime(at, "%d/%b/%Y:%H:%M:%S %z").timestamp())
        cell = hours[(at - at % 3600, status[0] + "xx")]
        cell["requests"] += 1
        if size != "-":
            cell["bytes"] += int(size)
            cell["known"] += 1
        cell["clients"].add(client)
        failures[at - at % 3600][status[0]] += 1
        cell["paths"][path] += 1
        requests[client].append((at, 0 if size == "-" else int(size)))
    hourly = [
        {
            "window_start": iso(start),
            "class": name,
            "requests": cell["requests"],
            "bytes": cell["bytes"] if cell["known"] else None,
            "clients": len(cell["clients"]),
            "top_counts": sorted(cell["paths"].values(), reverse=True)[:10],
            "paths": cell["paths"],
        }
        for (start, name), cell in sorted(hours.items())
    ]
    errors = [
        {
            "window_start": iso(start),
            "requests": sum(classes.values()),
            "errors_4xx": classes["4"],
            "errors_5xx": classes["5"],
            "ratio_4xx": classes["4"] / sum(classes.values()),
            "ratio_5xx": classes["5"] / sum(classes.values()),
        }
        for start, classes in sorted(failures.items())
    ]
    visits = []
    for client, seen in sorted(requests.items()):
        seen.sort()
        first = last = None
        count = size = 0
        for at, more in seen:
            if last is not None and at - last >= GAP_S:
                visits.append((client, iso(first), iso(last), count, size))
                first, count, size = None, 0, 0
            first, last, count, size = at if first is None else first, at, count + 1, size + more
        visits.append((client, iso(first), iso(last), count, size))
    json.dump({"hourly": hourly, "errors": errors, "visits": visits}, sys.stdout)


main()
