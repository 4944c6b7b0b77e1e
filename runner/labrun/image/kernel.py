"""Kernels for virtual machines: a Debian package, unpacked into the user's cache and never installed.

A kernel is a folder of its own, named by its release and by the digest of its package: `vmlinuz`, `modules.squashfs` with
all its modules, `base.cpio` (a static busybox and the modules that the start needs), and `kernel.json`. The folder appears
under its name only when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from labrun.image.builders import Say
from labrun.image.command import run
from labrun.image.errors import ImageError
from labrun.image.kept import cache_folder
from labrun.protocol.record import dataclass

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # uname's words, and Debian's
_AT_START = ("virtio_pci", "virtio_blk", "virtio_console", "squashfs", "overlay")
_FOLDERS = ("dev", "proc", "sys", "bin", "m", "lower", "rw", "new")
_NEWC = "070701"  # Documentation/driver-api/early-userspace/buffer-format.rst


@dataclass(frozen=True, slots=True)
class Kernel:
    """``release`` is what `uname -r` says; ``package`` names the package; ``digest`` is the package's SHA-256."""

    release: str
    package: str
    digest: str
    folder: Path


def kernels(cache_dir: Path | None = None) -> tuple[Kernel, ...]:
    """The kernels at hand, the newest release first."""
    found = []
    for record in (cache_folder(cache_dir) / "kernels").glob("*/kernel.json"):
        facts = json.loads(record.read_text(encoding="utf-8"))
        found.append(Kernel(facts["release"], facts["package"], facts["digest"], record.parent))
    return tuple(sorted(found, key=lambda kernel: _order(kernel.release), reverse=True))


def find_kernel(wanted: str | None, cache_dir: Path | None = None) -> Kernel:
    """The newest at hand whose release begins with ``wanted`` (`6.1`, `6.12`). Raises ImageError."""
    at_hand = kernels(cache_dir)
    for kernel in at_hand:
        if wanted is None or _is_of(kernel.release, wanted):
            return kernel
    names = ", ".join(kernel.release for kernel in at_hand) or "none"
    what = f"There is no kernel {wanted} at hand" if wanted else "There is no kernel at hand"
    raise ImageError(f"{what} ({names}).", f"Get one: labrun kernel get {wanted or '6.1'}.")


def get_kernel(wanted: str, say: Say, cache_dir: Path | None = None) -> Kernel:
    """Debian's newest kernel of the series ``wanted`` (`6.1`), or that of a package's file. Raises ImageError."""
    _need("dpkg-deb", "dpkg")
    _need("mksquashfs", "squashfs-tools")
    top = cache_folder(cache_dir) / "kernels"
    top.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=top) as name:
        work = Path(name)
        package = Path(wanted) if wanted.endswith(".deb") else _download(_newest(wanted), work, say)
        if not package.is_file():
            raise ImageError(f"There is no file {package}.", "Name a series such as 6.1, or a .deb file.")
        return _keep(package, _busybox(work, say), top, work, say)


def initramfs(kernel: Kernel, init: str) -> Path:
    """The kernel's own start with ``init`` as the first program: a file, made once for each ``init``."""
    path = kernel.folder / f"initramfs-{hashlib.sha256(init.encode()).hexdigest()[:12]}"
    if not path.is_file():
        base = (kernel.folder / "base.cpio").read_bytes()
        _whole(path, base + _archive([("init", 0o100755, init.encode(), (0, 0))]))
    return path


def image_file(rootfs: Path, cache_dir: Path | None = None) -> Path:
    """The lab image as one file that a machine can mount: made once from its folder. Raises ImageError."""
    path = cache_folder(cache_dir) / "squashed" / f"{rootfs.name}.squashfs"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=path.parent) as name:
            made = Path(name) / "root"
            _squash(rootfs, made, Path(name) / "log")
            made.replace(path)
    return path


def _keep(package: Path, busybox: Path, top: Path, work: Path, say: Say) -> Kernel:
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    root = work / "root"
    run("dpkg-deb", ["dpkg-deb", "-x", str(package), str(root)], log=work / "log")
    images = sorted((root / "boot").glob("vmlinuz-*"))
    folders = sorted((root / "lib/modules").glob("*"))
    if len(images) != 1 or len(folders) != 1:
        raise ImageError(f"{package.name} has no kernel with its modules.", "Name a linux-image-*-cloud package.")
    release = folders[0].name
    target = top / f"{release}-{digest[:12]}"
    kernel = Kernel(release, _title(package), digest, target)
    if target.is_dir():
        return kernel
    say(f"unpacking {kernel.package}")
    _plain(folders[0])
    run("depmod", [str(busybox), "depmod", "-b", str(root), release], log=work / "log")
    made = work / "made"
    made.mkdir()
    shutil.copyfile(images[0], made / "vmlinuz")
    _squash(folders[0], made / "modules.squashfs", work / "log")
    (made / "base.cpio").write_bytes(_base(folders[0], busybox))
    facts = {"release": release, "package": kernel.package, "digest": digest}
    (made / "kernel.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
    made.chmod(0o755)
    made.rename(target)
    return kernel


def _plain(folder: Path) -> None:
    """Modules without compression: the squashfs compresses them, and any modprobe can read them."""
    for path in folder.rglob("*.ko.xz"):
        path.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
        path.unlink()


def _base(folder: Path, busybox: Path) -> bytes:
    """Folders, busybox and the modules of the start, in the order in which they are to be loaded."""
    entries: list[tuple[str, int, bytes, tuple[int, int]]] = [(name, 0o40755, b"", (0, 0)) for name in _FOLDERS]
    entries += [("dev/console", 0o20600, b"", (5, 1)), ("bin/busybox", 0o100755, busybox.read_bytes(), (0, 0))]
    for number, path in enumerate(_in_order(folder)):
        entries.append((f"m/{number:02d}-{Path(path).name}", 0o100644, (folder / path).read_bytes(), (0, 0)))
    return _archive(entries)


def _in_order(folder: Path) -> list[str]:
    """The start's modules after what they need (depmod(8): the last that is named is loaded first)."""
    lines = (folder / "modules.dep").read_text(encoding="utf-8").splitlines()
    needs = {path: rest.split() for path, _, rest in (line.partition(":") for line in lines)}
    by_name = {Path(path).stem.replace("-", "_"): path for path in needs}
    paths = [by_name[name] for name in _AT_START if name in by_name]  # what is not there is built in
    return list(dict.fromkeys(each for path in paths for each in (*reversed(needs[path]), path)))


def _archive(entries: Sequence[tuple[str, int, bytes, tuple[int, int]]]) -> bytes:
    """A cpio archive in the format newc: name, mode, content, device number. The kernel joins several."""
    out = bytearray()
    for number, (name, mode, data, device) in enumerate((*entries, ("TRAILER!!!", 0, b"", (0, 0))), 1):
        encoded = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
        out += (_NEWC + "".join(f"{field:08X}" for field in fields)).encode() + encoded
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def _newest(series: str) -> str:
    """The name of Debian's newest cloud kernel of a series, from apt's own lists."""
    _need("apt-get", "apt")
    machine = ARCHITECTURES.get(platform.machine(), platform.machine())
    pattern = f"^linux-image-[0-9].*-cloud-{machine}$"
    done = subprocess.run(["apt-cache", "search", "--names-only", pattern], capture_output=True, text=True, check=False)
    names = [line.split()[0] for line in done.stdout.splitlines()]
    exact = [
        name for name in names if _is_of(_release(name), series) and _release(name).count(".") >= 2
    ]  # no meta-package
    if not exact:
        raise ImageError(
            f"Debian's lists here have no cloud kernel {series}.", "Bring them up to date (apt-get update)."
        )
    return max(exact, key=lambda name: _order(_release(name)))


def _download(name: str, work: Path, say: Say) -> Path:
    say(f"fetching {name}")
    log = work / "log"
    before = set(work.glob("*.deb"))
    here = ["sh", "-c", 'cd "$1" && exec apt-get -q -o APT::Sandbox::User= download "$2"', "sh", str(work), name]
    run("apt-get download", here, log=log)
    (package,) = set(work.glob("*.deb")) - before
    return package


def _busybox(work: Path, say: Say) -> Path:
    """A static one: this machine's if it has one, else Debian's."""
    found = shutil.which("busybox")
    if found is not None and b"/lib64/ld-linux" not in Path(found).read_bytes()[:4096]:
        return Path(found)
    _need("apt-get", "apt")
    root = work / "busybox"
    run("dpkg-deb", ["dpkg-deb", "-x", str(_download("busybox-static", work, say)), str(root)], log=work / "log")
    return next(path for path in (root / "bin/busybox", root / "usr/bin/busybox") if path.is_file())


def _squash(folder: Path, target: Path, log: Path) -> None:
    _need("mksquashfs", "squashfs-tools")
    fast = ("-all-root", "-comp", "gzip", "-Xcompression-level", "1", "-no-progress", "-quiet")
    run("mksquashfs", ["mksquashfs", str(folder), str(target), *fast], log=log)
    target.chmod(0o644)


def _whole(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(data)
    fresh.chmod(0o644)
    fresh.replace(path)


def _title(package: Path) -> str:
    done = subprocess.run(
        ["dpkg-deb", "-W", "--showformat=${Package} ${Version}", str(package)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or package.name


def _release(package: str) -> str:
    return package.removeprefix("linux-image-")


def _is_of(release: str, series: str) -> bool:
    """6.1.0-55-cloud-amd64 is of 6.1; 6.12 is not."""
    return release == series or (release.startswith(series) and not release[len(series)].isdigit())


def _order(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", release.partition("-cloud")[0]))


def _need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise ImageError(f"{program} is not on this machine.", f"Debian and Ubuntu: apt install {package}.")
