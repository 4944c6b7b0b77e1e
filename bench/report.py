"""How long a report takes and how much memory: a recorded run, one lab, 100 labs, and a lab with a million packets.

    python bench/report.py RUN      RUN: a run directory of `labrun all`

Each is judged and rendered by `labrun report` in a process of its own, whose time and peak memory are the kernel's
(wait4). The 100 labs are the run's own, copied under other names. The million packets are UDP, 100 bytes each.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
import tempfile
import time
from pathlib import Path

from labrun.agent import pcapng

_COPIES = 100
_PACKETS = 1_000_000
_WALL_NS = 1_790_000_000_000_000_000


def measured(run: Path) -> None:
    """Renders the run, and prints a line."""
    begin = time.perf_counter()
    child = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-m", "labrun", "report", str(run)])
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - begin
    busy = usage.ru_utime + usage.ru_stime
    if status:
        raise SystemExit(f"labrun report {run} failed ({status})")
    sizes = ", ".join(f"{name} {(run / name).stat().st_size / 1e6:.2f} MB" for name in ("index.html", "index.md"))
    print(f"    {seconds:6.2f} s ({busy:.2f} s of a processor)   peak {usage.ru_maxrss / 1024:5.0f} MiB   {sizes}")


def rendering(run: Path) -> None:
    """What of that is the reports, in this process: the first time, with what is imported for it, and again."""
    from labrun.judge.run import judge_run

    result = judge_run(run)
    times = [time.process_time()]
    from labrun.report.write import write_reports

    for _ in range(2):
        write_reports(run, result)
        times.append(time.process_time())
    print(f"    the reports alone {times[1] - times[0]:.2f} s, again {times[2] - times[1]:.2f} s")


def one(run: Path, into: Path) -> Path:
    """A run of one small lab alone."""
    record = json.loads((run / "run.json").read_text())
    entry = next(each for each in record["labs"] if each["slug"] == "empty-namespace")
    shutil.copytree(run / "labs/empty-namespace", into / "labs/empty-namespace")
    (into / "run.json").write_text(json.dumps({**record, "labs": [entry]}))
    return into


def many(run: Path, into: Path) -> Path:
    """The run with its labs again and again, until there are _COPIES."""
    record = json.loads((run / "run.json").read_text())
    entries = []
    for number in range(_COPIES):
        entry = record["labs"][number % len(record["labs"])]
        slug = f"{entry['slug']}-{number}"
        shutil.copytree(run / "labs" / entry["slug"], into / "labs" / slug)
        entries.append({**entry, "slug": slug})
    (into / "run.json").write_text(json.dumps({**record, "labs": entries}))
    return into


def large(run: Path, into: Path) -> Path:
    """One lab of the run, whose capture has a million packets."""
    record = json.loads((run / "run.json").read_text())
    entry = next(each for each in record["labs"] if each["slug"] == "own-address")
    shutil.copytree(run / "labs/own-address", into / "labs/own-address")
    (into / "run.json").write_text(json.dumps({**record, "labs": [entry]}))
    file = into / "labs/own-address/experiment/captures/seen.pcapng"
    payload = bytes(58)
    udp = struct.pack(">HHHH", 4000, 4000, 66, 0) + payload
    with file.open("wb") as out:
        out.write(pcapng.section_header("Linux"))
        out.write(pcapng.interface_description("lo", 1, 262144))
        for number in range(_PACKETS):
            header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 86, number & 0xFFFF, 0, 64, 17, 0, bytes(4), bytes(4))
            out.write(
                pcapng.enhanced_packet(0, _WALL_NS + number * 1000, bytes(12) + b"\x08\x00" + header + udp, 100, 1)
            )
    return into


def main() -> None:
    run = Path(os.path.realpath(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(run, Path(folder) / "as-it-is")
        print(f"this run ({len(list((run / 'labs').iterdir()))} labs)")
        measured(Path(folder) / "as-it-is")
        print("empty-namespace alone")
        measured(one(run, Path(folder) / "one"))
        rendering(Path(folder) / "one")
        print(f"{_COPIES} labs")
        measured(many(run, Path(folder) / "many"))
        print(f"a lab with {_PACKETS:,} packets")
        measured(large(run, Path(folder) / "large"))


if __name__ == "__main__":
    main()
