"""Kernels of virtual machines: which one a name means, what a start is made of, and how a machine is started."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from labrun.engines.vm import Machine, crash_in, init_script, qemu_command
from labrun.image.errors import ImageError
from labrun.image.initramfs import base_archive
from labrun.image.kernel import Kernel, find_kernel, get_kernel, kernels

ROOT = Path(__file__).parents[2]
RELEASES = ("6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "6.12.117+deb12-cloud-amd64", "5.10.0-8-cloud-amd64")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    for release in RELEASES:
        folder = tmp_path / "kernels" / f"{release}-0123"
        folder.mkdir(parents=True)
        for part in ("vmlinuz", "modules.squashfs", "base.cpio"):
            (folder / part).touch()
        facts = {"release": release, "package": f"linux-image-{release} 1", "image": "a", "config": "", "modules": "b"}
        (folder / "kernel.json").write_text(json.dumps(facts))
    return tmp_path


def no_news(text: str) -> None:
    raise AssertionError(text)


@pytest.mark.parametrize(
    ("wanted", "release"),
    [
        (None, RELEASES[2]), ("6", RELEASES[2]), ("6.12", RELEASES[2]), ("6.1", RELEASES[1]), ("6.1.0-9", RELEASES[0]),
        ("5.10", RELEASES[3]), (RELEASES[0], RELEASES[0]), ("6.12.117", RELEASES[2]),
    ],
)  # fmt: skip
def test_a_series_means_the_newest_of_it_that_is_at_hand(cache: Path, wanted: str | None, release: str) -> None:
    assert find_kernel(wanted, no_news, cache).release == release


def test_a_folders_kernel_is_never_what_a_series_means(cache: Path) -> None:
    for place, release in (("zz", RELEASES[1]), ("zz", "6.99.0-own")):
        folder = cache / "kernels" / f"{release}-{place}"
        folder.mkdir()
        for part in ("vmlinuz", "modules.squashfs", "base.cpio"):
            (folder / part).touch()
        facts = {"release": release, "package": "folder own", "image": "a", "config": "", "modules": "b"}
        (folder / "kernel.json").write_text(json.dumps(facts))
    assert find_kernel(None, no_news, cache).release == RELEASES[2]
    for wanted in ("6.1", RELEASES[1]):
        assert find_kernel(wanted, no_news, cache).package.startswith("linux-image-")
    assert find_kernel("6.99.0-own", no_news, cache).package == "folder own"
    with pytest.raises(ImageError):
        find_kernel("6.99", no_news, cache)


@pytest.mark.parametrize("wanted", ["6.2", "6.11", "5.1", "6.1.0-5", "7"])
def test_what_is_not_at_hand_is_said_with_the_command_that_brings_it(cache: Path, wanted: str) -> None:
    with pytest.raises(ImageError, match=f"There is no kernel {wanted} at hand .*labrun kernel get {wanted}"):
        find_kernel(wanted, no_news, cache)


def test_a_folder_that_is_not_whole_is_no_kernel(cache: Path) -> None:
    (cache / "kernels" / f"{RELEASES[2]}-0123" / "base.cpio").unlink()
    (cache / "kernels" / f"{RELEASES[1]}-0123" / "kernel.json").write_text('{"release": "6.1"}')
    (cache / "kernels" / ".making-x").mkdir()
    assert [kernel.release for kernel in kernels(cache)] == [RELEASES[0], RELEASES[3]]


@pytest.mark.parametrize(
    ("has", "found"),
    [
        ((), "0 kernels and modules of 0"),
        (("vmlinuz",), "1 kernels and modules of 0"),
        (("boot/vmlinuz-1", "boot/vmlinuz-2", "lib/modules/1/x"), "2 kernels and modules of 1"),
        (("vmlinuz", "lib/modules/1/x", "lib/modules/2/x"), "1 kernels and modules of 2"),
    ],
)
def test_a_folder_has_one_kernel_with_its_modules(tmp_path: Path, has: tuple[str, ...], found: str) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for name in has:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    with pytest.raises(ImageError, match=f"folder own has {found}, and one of each is needed"):
        get_kernel(str(folder), no_news, tmp_path / "cache")
    assert not list((tmp_path / "cache" / "kernels").iterdir()), "nothing is left of it"


def test_a_folder_of_modules_has_the_name_of_a_release(tmp_path: Path) -> None:
    for name in ("vmlinuz", "lib/modules/6.1 $(touch x)/a"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).touch()
    with pytest.raises(ImageError, match="is no release of a kernel"):
        get_kernel(str(tmp_path / "own"), no_news, tmp_path / "cache")


def modules(folder: Path, dep: str, builtin: str) -> Path:
    (folder / "modules.dep").write_text(dep)
    (folder / "modules.builtin").write_text(builtin)
    for line in dep.splitlines():
        path = folder / line.partition(":")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    return folder


def test_modules_are_loaded_after_what_they_need_and_those_built_in_are_not_missed(tmp_path: Path) -> None:
    # depmod(8) names the last one to load first.
    dep = (
        "d/virtio_pci.ko: d/virtio-ring.ko d/virtio.ko\nd/virtio.ko:\nd/virtio-ring.ko: d/virtio.ko\n"
        "d/virtio_blk.ko: d/virtio-ring.ko d/virtio.ko\nf/overlay.ko:\nd/virtio_console.ko: d/virtio.ko\nd/other.ko:\n"
    )
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"\x7fELF")
    archive = base_archive(modules(tmp_path, dep, "kernel/fs/squashfs/squashfs.ko\n"), busybox)
    names = [name for name in entries(archive) if name.startswith("m/")]
    assert names == [
        "m/00-virtio.ko", "m/01-virtio-ring.ko", "m/02-virtio_pci.ko", "m/03-virtio_blk.ko", "m/04-virtio_console.ko",
        "m/05-overlay.ko",
    ]  # fmt: skip
    assert entries(archive)["bin/busybox"] == b"\x7fELF" and entries(archive)["m/00-virtio.ko"] == b"virtio.ko"
    with pytest.raises(ImageError, match="This kernel has no squashfs: a virtual machine cannot start with it"):
        base_archive(modules(tmp_path, dep, ""), busybox)


def entries(archive: bytes) -> dict[str, bytes]:
    """Of an archive in the format newc, by its document: name -> content."""
    found, place = {}, 0
    while True:
        assert archive[place : place + 6] == b"070701"
        fields = [int(archive[place + 6 + 8 * i : place + 14 + 8 * i], 16) for i in range(13)]
        size, length = fields[6], fields[11]
        name = archive[place + 110 : place + 110 + length - 1].decode()
        start = (place + 110 + length + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = archive[start : start + size]
        place = (start + size + 3) // 4 * 4


@pytest.mark.parametrize(
    ("console", "line"),
    [
        ("[    9.1] sysrq: Trigger a crash\n[    9.2] Kernel panic - not syncing: sysrq triggered crash\n[   9.3] CPU: 0",
         "Kernel panic - not syncing: sysrq triggered crash"),
        ("[ 3.1] BUG: unable to handle page fault for address: 00\n[ 3.2] Oops: 0002 [#1] PREEMPT SMP",
         "BUG: unable to handle page fault for address: 00"),
        ("[ 3.2] Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]",
         "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]"),
        ("[ 2.0] Internal error: Oops: 96000004 [#1] SMP", "Internal error: Oops: 96000004 [#1] SMP"),
        ("[ 1.0] IPv4: martian source 10.0.0.1 from 127.0.0.1, on dev eth0\n[ 2.0] a warning", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_crash_is_known_by_the_kernels_own_words(console: str, line: str | None) -> None:
    assert crash_in(console) == line


def test_a_machine_is_what_the_document_on_security_says() -> None:
    files = (Path("/k/vmlinuz"), Path("/k/a,b"), Path("/k/modules"), Path("/k/root,1"))
    words = qemu_command(Machine("/usr/bin/qemu", "6.1", "linux 6.1", *files))
    command = " ".join(words)
    said = " ".join((ROOT / "SECURITY.md").read_text().split())
    assert "`-nic none`" in said and "-nic none" in command and "-netdev" not in command
    assert "`-sandbox on`" in said and "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny" in command
    assert "no monitor" in said and "-monitor none" in command and "-qmp" not in command
    assert "one processor" in said and "-smp 1 " in command
    assert "without KVM" in said and "-accel tcg" in command and "kvm" not in command
    assert "no folder of the host's" in said and "fsdev" not in command
    drives = [words[place + 1] for place, word in enumerate(words) if word == "-drive"]
    assert len(drives) == 2 and all(drive.endswith("format=raw,readonly=on") for drive in drives)
    assert "file=/k/root,,1," in drives[0], "a comma in a name is no option"


def test_no_name_of_a_kernel_is_a_command_of_the_machine(tmp_path: Path) -> None:
    identity = Kernel("6.1", "folder '\"$(touch x)`touch y`", "1", "", "2", tmp_path).identity
    script = init_script("6.1.0", identity)
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    inner = script[script.index("switch_root") :].partition(" sh -c ")[2]
    unquoted = subprocess.run(["sh", "-c", f"printf %s {inner}"], capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in unquoted.splitlines() if line.endswith("> /run/labrun/kernel.json"))
    said = subprocess.run(
        ["sh", "-c", line.partition(" >")[0]], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert json.loads(said.stdout) == identity and not list(tmp_path.iterdir())
