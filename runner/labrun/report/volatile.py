"""What may differ between two runs of the same lab, named: times, ports, pids, ids, inodes, durations and the like.

With these named the same report has the same bytes, whenever and wherever it ran. Each entry is one kind of thing with
the places in which tools and reports write it; whatever is not here must be the same, or something has changed.
"""

from __future__ import annotations

import re

VOLATILE: tuple[tuple[str, str, str], ...] = (
    ("the run's id", r"\b\d{8}-\d{6}-[0-9a-f]{4}\b", "<run>"),
    ("where the labs are", r"(?<=\[)[^\]\s]*(?=labs/[^\]\s]+\.yaml:\d+\])", ""),
    ("dates", r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?: ?UTC|Z|\+00:00)?", "<date>"),
    ("dates as curl and date write them", r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? [^\n]{5,30}\d{4}\b", "<date>"),
    ("round trip times", r"mdev = [\d./]+ ms", "mdev = <duration>"),
    ("rates and times of day in transfers", r"--:--:--|(?<![:\w])\d{1,2}:\d\d:\d\d(?:\.\d+)?(?![:\w])", "<time>"),
    ("durations", r"(?<![\w.])\+?\d+(?:\.\d+)? ?(?:ns|µs|us|ms|s|sec|seconds)\b", "<duration>"),
    ("moments of a poll", r"moments? \d+(?: of \d+)?|any of \d+ moments|\d+ moments", "<moment>"),
    ("ephemeral ports", r"(?<=[:.#])(?:3[3-9]\d{3}|32[89]\d\d|327[6-9]\d|[45]\d{4}|60\d{3})\b", "<port>"),
    ("ephemeral ports after a word", r"\bport (?:3[3-9]\d{3}|[45]\d{4}|60\d{3})\b", "port <port>"),
    ("ephemeral ports of a snapshot", r"port=(?:3[3-9]\d{3}|32[89]\d\d|327[6-9]\d|[45]\d{4}|60\d{3})\b", "port=<port>"),
    ("frames that a link dropped before its peer was up", r"\bTX errors 0  dropped \d+", "TX errors 0  dropped <n>"),
    ("pids", r"\bpid[= ]\d+", "<pid>"),
    ("pids in netstat's last column, padded to a width", r"\b\d+/(nc|python3|curl|ping|bash|sh)\b *", r"<pid>/\1"),
    ("which line of a repeated snapshot", r"\b(snapshot [\w-]+), line \d+", r"\1, line <moment>"),
    ("identifiers of echo requests", r"\bid \d+(?= seq)", "id <id>"),
    ("IP identifications", r"\bip\.id(?: ==)? \d+|\bid \d+(?=,)", "<ip-id>"),
    ("sequence numbers of TCP", r"\bseq \d{4,} ack \d+", "seq <seq> ack <ack>"),
    ("inodes", r"\b(?:ino(?:de)?)[:= ]\d+", "<inode>"),
    ("cookies of sockets", r"\bsk:[0-9a-f]+", "<cookie>"),
    ("whether a neighbour was just used", r"\b(?:REACHABLE|STALE|DELAY|PROBE)\b", "<nud>"),
    ("ages and lifetimes", r"\b(?:used|expires|ref|probes) [\d/]+(?:sec)?", "<age>"),
)


def named(text: str) -> str:
    """The text with each volatile part replaced by its name."""
    for _, pattern, name in VOLATILE:
        text = re.sub(pattern, name, text)
    return text
