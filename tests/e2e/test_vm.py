"""Labs in virtual machines with Debian's kernel 6.1: verdicts as elsewhere, and whatever a machine does is bounded.

The processor is emulated, so each start costs seconds: there are few, and each is looked at from all sides.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from e2e.conftest import LABRUN, Backend, Ran, _call
from e2e.test_breakage import at_step, eventually, start
from e2e.test_engines import steady
from labrun.cli import security
from labrun.cli.checkup_vm import vm_checkup
from labrun.cli.engines import machine, native_rootfs, see_to_qemu
from labrun.engines.base import EngineError
from labrun.engines.native import FIRST_ID
from labrun.engines.vm import Machine, VmEngine, init_script
from labrun.image.errors import ImageError
from labrun.image.kernel import Kernel, find_kernel, start_file
from labrun.image.recipe import Recipe
from labrun.protocol.actions import Namespace, Run
from labrun.protocol.frames import Piece
from labrun.protocol.plan import Limits, Plan, Step
from support.account import temporary_account
from support.sandboxes import Sandbox, descendants, namespaces_of

WriteLab = Callable[..., Path]
OK = "{command: a, exit: 0}"
SLOW = "  - {id: a, run: 'echo before'}\n  - {id: b, run: 'sleep 77', timeout: 90s}"


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    """6.1, fetched by the command that people use if it is not at hand."""
    try:
        return find_kernel("6.1", print)
    except ImageError:
        subprocess.run([*LABRUN, "kernel", "get", "6.1"], check=True)
        return find_kernel("6.1", print)


@pytest.fixture(scope="module")
def made(kernel: Kernel, lab_image: str, recipe: Recipe) -> Machine:
    return machine(see_to_qemu(), kernel, native_rootfs(recipe, print))


@pytest.fixture
def vm(made: Machine) -> Backend:
    return Backend("vm", LABRUN, ("--kernel", "6.1"), {}, namespaces_of)


def qemus(sandboxes: list[Sandbox]) -> list[int]:
    """Process ids of QEMU in sandboxes, of the machines themselves and not of a shell before them."""
    found = [(pid, words) for one in sandboxes for pid, words in descendants(int(one.name))]
    return [pid for pid, words in found if words.startswith(see_to_qemu())]


NETEM = """\
title: What this machine's kernel may lack
question: Does a packet wait in netem, and does a table of its own route a VRF?
requires: {kernel: [netem, vrf, vlan, wireguard, macvlan, ipvlan, bond]}
topology:
  nodes: {a: {}, b: {}}
  links: [{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24}]
steps:
  - {id: slow, in: a, run: tc qdisc add dev eth0 root netem delay 3s}
  - {id: probe, in: a, run: ping -c 1 -W 20 10.0.0.2, timeout: 60s}
  - {id: vrf, in: b, run: ip link add red type vrf table 10 && ip -d link show red}
hypotheses:
  - id: waits
    claim: It waits for three seconds.
    predict: {command: probe, stdout: {matches: "time=[3-9][0-9]{3} ms"}}
    control: {without: slow}
  - {id: vrf, claim: It does., predict: {command: vrf, stdout: {contains: vrf table 10}}, control: {none: An example.}}
"""


def test_labs_have_the_verdicts_that_they_have_natively_and_the_evidence_names_the_kernel(
    vm: Backend, kernel: Kernel, tmp_path: Path
) -> None:
    folder = tmp_path / "labs" / "lacks"
    folder.mkdir(parents=True)
    (folder / "lab.yaml").write_text(NETEM)
    slugs = ("listing", "own-address")
    ran = _call(vm, ("run", *slugs, "lacks", "--jobs", "1"), tmp_path, {})
    assert ran.exit == 0, ran.out + ran.err
    assert set(ran.verdicts("lacks").values()) == {("supported", "as-predicted")}
    where = ran.results["run"]
    assert (where["engine"], where["isolation"], where["kernel"]) == ("vm", "virtual-machine", kernel.release)
    assert kernel.package in where["isolation_note"] and "emulated (TCG)" in where["isolation_note"]
    events = (ran.run / "labs/own-address/experiment/events.jsonl").read_text()
    hello = json.loads(events.partition("\n")[0])
    assert hello["kernel"] == kernel.release and hello["kernel_build"] == kernel.identity
    page = (ran.run / "index.html").read_text()
    assert kernel.package in page and kernel.modules in page and kernel.config in page and kernel.config
    native = Backend("native", LABRUN, ("--engine", "native", "--userland", "image"), {}, namespaces_of)
    other = _call(native, ("run", *slugs), tmp_path, {})
    for slug in slugs:
        assert steady(ran.lab(slug)) == steady(other.lab(slug)), slug


def test_an_account_without_rights_runs_them_too(
    made: Machine, kernel: Kernel, recipe: Recipe, write_lab: WriteLab, tmp_path: Path
) -> None:
    write_lab("quick", "  - {id: a, run: uname -r}", f"{{command: a, stdout: {kernel.release}}}")
    with temporary_account() as account:
        cache = Path(account.environment.get("HOME", str(Path.home()))) / ".cache" / "labrun"
        if cache.parent.parent != Path.home():
            shutil.copytree(kernel.folder, cache / "kernels" / kernel.folder.name)
            (cache / "squashed").mkdir()
            shutil.copy(made.root, cache / "squashed")
            (cache / "rootfs" / made.root.stem).mkdir(parents=True)  # its name is all that is needed of it
            subprocess.run(["chown", "-R", account.name, str(cache.parent)], check=True)
        backend = Backend("vm", account.command("-m", "labrun"), ("--engine", "vm"), account.environment, namespaces_of)
        ran = _call(backend, ("run", "quick"), tmp_path, {})
    assert ran.exit == 0, ran.out + ran.err
    assert ran.verdicts("quick") == {"h1": ("supported", "as-predicted")}
    assert ran.results["run"]["engine"] == "vm"


def carry_out(
    made: Machine, *commands: tuple[str, str], within_s: float = 300.0
) -> tuple[dict[str, bytes], EngineError | None]:
    """What came of commands, each with the id of its step: the evidence so far, and what ended it."""
    steps = tuple(Step(id, Run(("sh", "-c", text)), "lab", 90.0) for id, text in commands)
    node = Step("lab", Namespace("add", "lab"), phase="topology")
    plan = Plan("vm", "experiment", (node, *steps), ("lab",), limits=Limits(lab_timeout_s=within_s)).sealed()
    engine = VmEngine(made, "labrun-lab:test", f"test-{os.getpid()}")
    engine.grace_s = 0.0
    said: dict[str, bytes] = {}
    error = None
    with engine:
        try:
            with engine.sandbox(plan, "experiment") as frames:
                for frame in frames:
                    if isinstance(frame, Piece):
                        said[frame.path] = said.get(frame.path, b"") + frame.data
        except EngineError as raised:
            error = raised
    assert not namespaces_of(f"test-{os.getpid()}"), "nothing is left of it"
    return said, error


def with_init(made: Machine, kernel: Kernel, old: str, new: str) -> Machine:
    """The same machine whose first program is another one."""
    script = init_script(kernel.release, kernel.identity)
    assert old in script
    return replace(made, initramfs=start_file(kernel, script.replace(old, new)))


def test_a_kernel_that_panics_is_its_own_reason_and_the_evidence_so_far_is_kept(made: Machine, kernel: Kernel) -> None:
    # A lab has not the right to do this: the machine's own side does it, once the lab has come so far.
    crash = "(until $b ps | $b grep -q 'sleep 7[7]'; do $b usleep 50000; done; echo c > /proc/sysrq-trigger) &"
    quoted = crash.replace("'", "'\"'\"'")  # it stands within quotes
    other = with_init(made, kernel, "$b hostname lab;", f"{quoted}\n$b hostname lab;")
    said, error = carry_out(other, ("a", "echo before"), ("b", "sleep 77"))
    assert error is not None and error.code == "kernel-crashed", error
    assert str(error).endswith("Kernel panic - not syncing: sysrq triggered crash")
    assert said["outputs/a.stdout"] == b"before\n"
    assert b"Call Trace:" in said["agent.log"], "the kernel's own words are evidence"


@pytest.mark.parametrize(
    ("script", "within_s", "code", "words"),
    [
        ("exec 1>&0; while :; do echo [0]; done", 300.0, "sandbox-garbled", "makes no sense"),
        ("exec 1>&0; $b cat /dev/zero", 300.0, "sandbox-garbled", "makes no sense"),
        ("$b sleep 1000", 4.0, "sandbox-stuck", "did not end within its time"),
        ("$b poweroff -f", 300.0, "sandbox-died", "before its agent was done"),
    ],
    ids=["lies", "floods", "hangs", "goes"],
)
def test_a_machine_that_does_not_do_its_part_is_bounded_and_has_its_reason(
    made: Machine, kernel: Kernel, script: str, within_s: float, code: str, words: str
) -> None:
    said, error = carry_out(
        with_init(made, kernel, "PATH=", f"(b=$b; {script}) 0<>/dev/vport0p1; PATH="), ("a", "true"), within_s=within_s
    )
    assert error is not None and (error.code, words in str(error)) == (code, True), (error, said)
    assert "outputs/a.stdout" not in said


def test_a_killed_machine_and_a_killed_runner_leave_nothing_but_the_evidence(
    vm: Backend, write_lab: WriteLab, tmp_path: Path
) -> None:
    write_lab("slow", SLOW, OK, "{command: b, exit: 0}")
    with start(vm, tmp_path, "run", "slow", "--jobs", "1") as process:
        eventually(lambda: at_step(tmp_path, "slow", "b"))
        (victim,) = eventually(lambda: qemus(vm.sandboxes(tmp_path)))
        about = dict(line.split(":\t", 1) for line in Path(f"/proc/{victim}/status").read_text().splitlines())
        assert about["Seccomp"] == "2" and about["Uid"].split()[0] == str(
            FIRST_ID if os.geteuid() == 0 else os.geteuid()
        )
        assert {
            line.split(":")[0].strip() for line in Path(f"/proc/{victim}/net/dev").read_text().splitlines()[2:]
        } == {"lo"}
        os.kill(victim, signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    ran = Ran(process.returncode, "", err, tmp_path)
    assert ran.exit == 3 and set(ran.verdicts("slow").values()) == {("inconclusive", "sandbox-died")}
    assert "killed (signal 9)" in ran.lab("slow")["message"]
    assert (ran.run / "labs/slow/experiment/outputs/a.stdout").read_text() == "before\n"
    assert vm.sandboxes(tmp_path) == []
    shutil.rmtree(tmp_path / "reports")
    with start(vm, tmp_path, "run", "slow", "--jobs", "1") as process:
        eventually(lambda: at_step(tmp_path, "slow", "b"))
        assert qemus(vm.sandboxes(tmp_path))
        process.kill()
        process.communicate(timeout=10)
    eventually(lambda: not vm.sandboxes(tmp_path), within_s=10.0)
    (run,) = (tmp_path / "reports").glob("2*")
    assert _call(vm, ("judge", str(run)), tmp_path, {}).exit == 3
    assert (run / "labs/slow/experiment/outputs/a.stdout").read_text() == "before\n"


def test_the_doctor_starts_a_machine_and_a_lab_in_it_has_no_way_out(
    made: Machine, kernel: Kernel, recipe: Recipe
) -> None:
    found = {finding.what: finding for finding in vm_checkup()}
    assert kernel.release in found["kernels (vm)"].found
    assert found["engine vm"].good and "emulated (TCG)" in found["engine vm"].found, found
    assert {"netem", "vrf", "wireguard"} <= set(found["kernel has (vm)"].found.split(", "))
    with VmEngine(made, recipe.tag, f"test-{os.getpid()}") as engine:
        answers = security.tried(engine)
    assert [one.id for one in security.ATTEMPTS if answers[one.id].open is None] == [], answers
    assert [one.id for one in security.ATTEMPTS if answers[one.id].hole(one, "vm")] == [], answers


def test_the_doctor_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = vm_checkup(tmp_path)
    assert (finding.good, finding.remedy) == (None, "labrun kernel get 6.1")
    monkeypatch.setenv("PATH", str(tmp_path))
    (finding,) = vm_checkup(tmp_path)
    assert (finding.good, finding.found) == (None, "no QEMU here")
    assert finding.remedy is not None and "apt install qemu-system-" in finding.remedy


def test_a_folder_of_ones_own_is_a_kernel_and_what_differs_between_two_is_found(
    made: Machine, kernel: Kernel, write_lab: WriteLab, tmp_path: Path
) -> None:
    own, cache = tmp_path / "own", tmp_path / "cache"
    (own / "lib/modules").mkdir(parents=True)
    shutil.copy(kernel.folder / "vmlinuz", own)
    target, parts = own / "lib/modules" / kernel.release, ("kernel/drivers/virtio", "kernel/drivers/block", "kernel/fs")
    unpack = ["unsquashfs", "-q", "-n", "-d", str(target), str(kernel.folder / "modules.squashfs"), *parts]
    subprocess.run([*unpack, "modules.builtin", "modules.order"], check=True, stdout=subprocess.DEVNULL)
    with pytest.raises(ImageError, match="This kernel has no virtio_console"):
        find_kernel(str(own), print, cache)
    subprocess.run([*unpack[:1], "-f", *unpack[1:6], "kernel/drivers/char"], check=True, stdout=subprocess.DEVNULL)
    found = find_kernel(str(own), print, cache)
    assert (found.release, found.package, found.image) == (kernel.release, "folder own", kernel.image)
    assert found.modules != kernel.modules and find_kernel(str(own), print, cache) == found
    # A home with both kernels, and with what else is kept.
    (tmp_path / ".cache").mkdir()
    cache.rename(tmp_path / ".cache/labrun")
    shutil.copytree(kernel.folder, tmp_path / ".cache/labrun/kernels" / kernel.folder.name)
    for name in ("rootfs", "squashed"):
        (tmp_path / ".cache/labrun" / name).symlink_to(made.root.parent.parent / name)
    vrf = "if ip link add red type vrf table 10 2>/dev/null; then echo has; else echo lacks; fi"
    write_lab("has", f"  - {{id: a, run: '{vrf}'}}", "{command: a, stdout: has}", OK)
    backend = Backend("vm", LABRUN, (), {}, namespaces_of)
    ran = _call(
        backend, ("bisect", "has/h1", "--kernel", "./own", "--kernel", "6.1"), tmp_path, {"HOME": str(tmp_path)}
    )
    assert ran.exit == 0, ran.out + ran.err
    words = [line.split()[1] for line in ran.out.splitlines() if line.startswith(kernel.release)]
    assert words == ["refuted", "supported"] and "The verdict changes after" in ran.out, ran.out
    runs = sorted((tmp_path / "reports").glob("2*"))
    told = [json.loads((run / "run.json").read_text())["isolation_note"].partition(";")[0] for run in runs]
    assert told == ["folder own", kernel.package], "both sides have their evidence"


@pytest.mark.parametrize(
    ("args", "env", "words"),
    [
        (("--kernel", "9.9"), {}, "Get one: labrun kernel get 9.9."),
        (("--kernel", "no.deb"), {}, "There is no file or folder no.deb."),
        (("--kernel", "./labs"), {}, "has 0 kernels and modules of 0"),
        (("--engine", "native", "--kernel", "6.1"), {}, "--kernel needs --engine vm"),
        (("--engine", "vm", "--isolation", "privileged"), {}, "never privileged"),
        (("--engine", "vm", "--userland", "host"), {}, "a virtual machine has an image"),
        (("--engine", "vm"), {"PATH": "/nowhere"}, "apt install qemu-system-x86"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(
    write_lab: WriteLab, tmp_path: Path, args: tuple[str, ...], env: dict[str, str], words: str
) -> None:
    write_lab("quick", "  - {id: a, run: 'true'}", OK)
    ran = _call(Backend("vm", LABRUN, (), {}, namespaces_of), ("run", "quick", *args), tmp_path, env)
    assert ran.exit == 3 and words in ran.err and ran.err.startswith("labrun: "), ran.err
    assert not (tmp_path / "reports").exists()
