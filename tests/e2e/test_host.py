"""The host does not decide: a machine that is set otherwise in every way that it can be gives the same results.

That machine is a network, mount and time namespace on this one. New namespaces copy the settings of the first one, so for
as long as the labs run, the kernel is told to copy those of their maker's (net.core.devconf_inherit_init_net = 3).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e.conftest import Backend, Labrun, Ran
from e2e.test_engines import steady

INHERIT = Path("/proc/sys/net/core/devconf_inherit_init_net")
OTHERWISE = """
for folder in ipv4/conf/all ipv4/conf/default ipv6/conf/all ipv6/conf/default ipv4 ipv6; do
    for setting in /proc/sys/net/$folder/*; do
        case $(cat "$setting" 2>/dev/null) in
            0) echo 1 >"$setting" ;; 1 | 3) echo 0 >"$setting" ;; 2) echo 1 >"$setting" ;; 64) echo 99 >"$setting" ;;
        esac 2>/dev/null
    done
done
echo 2000 2100 >/proc/sys/net/ipv4/ip_local_port_range
mount --bind "$OTHER/resolv.conf" /etc/resolv.conf
umask 077
ulimit -n 512
ulimit -s 4096
unshare --net cat /proc/sys/net/ipv4/conf/default/rp_filter /proc/sys/net/ipv4/ip_forward >"$OTHER/copied"
export BASH_ENV="$OTHER/rc" ENV="$OTHER/rc" IFS=x LANG=tr_TR.UTF-8 LC_ALL=tr_TR.UTF-8 TZ=Asia/Kathmandu COLUMNS=20
export POSIXLY_CORRECT=1 http_proxy=http://192.0.2.1:1 PYTHONWARNINGS=ignore LD_LIBRARY_PATH="$OTHER" HOME="$OTHER"
exec taskset --cpu-list "$CPU" "$@"
"""


@pytest.fixture
def inherited() -> Iterator[None]:
    before = INHERIT.read_text()
    INHERIT.write_text("3")
    try:
        yield
    finally:
        INHERIT.write_text(before)


@pytest.fixture
def busy() -> Iterator[None]:
    """The one processor of that machine has something else to do."""
    cpu = min(os.sched_getaffinity(0))
    script = f"import os, time\nos.nice(5)\nos.sched_setaffinity(0, [{cpu}])\nend = time.monotonic() + 300\nwhile time.monotonic() < end: pass"
    spin = subprocess.Popen([sys.executable, "-c", script])
    try:
        yield
    finally:
        spin.kill()
        spin.wait()


@pytest.mark.usefixtures("inherited", "busy")
def test_labs_come_out_the_same_on_a_machine_that_is_set_otherwise(
    every_lab: Callable[[str], Ran], backend_of: Callable[[str], Backend], tmp_path: Path
) -> None:
    backend = backend_of("native")
    other = tmp_path / "other"
    other.mkdir()
    (other / "resolv.conf").write_text("nameserver 192.0.2.1\nsearch example.test\n")
    (other / "rc").write_text("echo not the lab's\n")
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    env = {**os.environ, "OTHER": str(other), "CPU": str(min(os.sched_getaffinity(0))), "XDG_CACHE_HOME": cache}
    ahead = "315360000"  # ten years, of the clocks that count from the machine's start
    done = subprocess.run(
        ["unshare", "--net", "--mount", "--time", "--monotonic", ahead, "--boottime", ahead, "--fork",
         "sh", "-c", OTHERWISE, "sh", *backend.command("all", "--jobs", "4")],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    ran = Ran(done.returncode, done.stdout, done.stderr, tmp_path)
    assert (other / "copied").read_text() == "1\n1\n", "a namespace of that machine's starts otherwise"
    assert ran.exit == 0, ran.err + ran.out
    here = every_lab("native")
    for lab in here.results["labs"]:
        assert steady(ran.lab(lab["id"])) == steady(lab), lab["id"]


def test_a_lab_s_commands_have_nothing_of_the_runner_s_surroundings(
    write_lab: Callable[..., Path], labrun: Labrun, tmp_path: Path
) -> None:
    (tmp_path / "rc").write_text("echo not the lab's\n")
    write_lab(
        "bare",
        "  - {id: env, run: 'env | sort'}\n"
        "  - {id: mask, run: 'umask; date +%Z; locale 2>/dev/null | head -1; cat /etc/resolv.conf'}",
        "{command: env, exit: 0, stdout: {lacks: 'not the lab'}}",
    )
    plain, odd = (
        labrun("run", "bare", env=env)
        for env in (
            {},
            {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "BASH_ENV": str(tmp_path / "rc"), "TOKEN": "x"},
        )
    )
    outputs = [
        {path.name: path.read_text() for path in (ran.run / "labs/bare/experiment/outputs").iterdir()}
        for ran in (plain, odd)
    ]
    assert outputs[0] == outputs[1] and "TOKEN" not in str(outputs)
