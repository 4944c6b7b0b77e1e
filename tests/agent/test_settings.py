"""A node starts from one table of settings, whatever the host's are. The host is a namespace of the test's own."""

from __future__ import annotations

from pathlib import Path

from labrun.agent.settings import Settings
from labrun.protocol.settings import MACHINE_WIDE, SETTINGS

ROOT = Path("/proc/sys/net")
OTHERWISE = {"0": "1", "1": "0", "2": "1", "-1": "2"}
FIXED = {"netfilter", "core"}  # some of these the kernel refuses to change in a namespace


def _now(path: str) -> str | None:
    try:
        return " ".join((ROOT / path).read_text().split())
    except OSError:
        return None


def test_every_setting_that_was_set_otherwise_is_as_the_table_says(netns: object) -> None:
    for path, value in reversed(SETTINGS.items()):
        if path.partition("/")[0] not in FIXED and value in OTHERWISE and _now(path) is not None:
            try:
                (ROOT / path).write_text(OTHERWISE[value])
            except OSError:
                continue
    (ROOT / "ipv4/ip_local_port_range").write_text("2000 3000")
    (ROOT / "ipv4/tcp_rmem").write_text("4096 8192 16384")
    (ROOT / "ipv4/icmp_ratelimit").write_text("17")
    changed = {path for path, value in SETTINGS.items() if _now(path) not in (None, value)}
    assert len(changed) > 100
    settings = Settings()
    settings.pin()
    left = {path for path, value in SETTINGS.items() if _now(path) not in (None, value)}
    assert {"net." + path.replace("/", ".") for path in left} == set(settings.left) - {
        "net." + path.replace("/", ".") for path in MACHINE_WIDE
    }
    assert left <= {"ipv4/tcp_congestion_control"}  # only where the machine does not let namespaces choose cubic
    assert _now("ipv4/ip_forward") == "0"


def test_it_follows_a_host_that_forwards(netns: object) -> None:
    (ROOT / "ipv4/ip_forward").write_text("1")
    (ROOT / "ipv4/conf/all/rp_filter").write_text("1")
    settings = Settings()
    settings.pin()
    (ROOT / "ipv4/ip_forward").write_text("1")
    (ROOT / "ipv4/conf/all/rp_filter").write_text("1")
    settings.pin()  # within the second: what differed is written, unread
    assert [_now(f"ipv4/conf/{scope}/forwarding") for scope in ("all", "default", "lo")] == ["0", "0", "0"]
    assert (_now("ipv4/conf/all/rp_filter"), _now("ipv4/conf/all/accept_redirects")) == ("0", "1")
