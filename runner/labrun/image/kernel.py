"""Kernels for virtual machines: Debian's packages or one's own builds, unpacked into the user's cache, never installed.

A kernel is a folder of its own, named by its release and by the digest of all that it was made of: `vmlinuz`,
`modules.squashfs` with all its modules, `base.cpio` (see initramfs.py), and `kernel.json`, which says what it is. The
folder appears under its name only when it is whole.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import lzma
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from labrun.image.builders import Say
from labrun.image.command import run
from labrun.image.errors import ImageError
from labrun.image.initramfs import base_archive, init_archive
from labrun.image.kept import cache_folder
from labrun.protocol.record import dataclass

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # uname's words, and Debian's
_FOLDER = "folder "  # what the name of a package begins with where there was none
_PARTS = ("vmlinuz", "modules.squashfs", "base.cpio")
_TOGETHER = "The folder has vmlinuz and lib/modules/RELEASE (make modules_install INSTALL_MOD_PATH=FOLDER)."


@dataclass(frozen=True, slots=True)
class Kernel:
    """``release`` is what `uname -r` says; ``package`` is its package with the version, or the folder it came from.

    Digests are SHA-256: of the image, of its configuration ("" where that did not come along), of all modules.
    """

    release: str
    package: str
    image: str
    config: str
    modules: str
    folder: Path

    @property
    def identity(self) -> dict[str, str]:
        """What makes it the one that it is, for the evidence."""
        digests = {"image": self.image, "config": self.config, "modules": self.modules}
        return {"package": self.package, **{name: f"sha256:{text}" for name, text in digests.items() if text}}


def kernels(cache_dir: Path | None = None) -> tuple[Kernel, ...]:
    """The kernels at hand, the newest release first."""
    found = []
    for record in _top(cache_dir).glob("*/kernel.json"):
        with contextlib.suppress(OSError, ValueError, TypeError):  # of another labrun: it can be made again
            facts = json.loads(record.read_text(encoding="utf-8"))
            if all((record.parent / part).is_file() for part in _PARTS):
                found.append(Kernel(**facts, folder=record.parent))
    return tuple(sorted(found, key=lambda kernel: (_order(kernel.release), kernel.folder.name), reverse=True))


def find_kernel(wanted: str | None, say: Say, cache_dir: Path | None = None) -> Kernel:
    """The newest package's at hand, of a series (`6.1`); or that of a file or a folder, unpacked if it is new.

    A folder's own is found by its whole release too, but it is never what a series means. Raises ImageError.
    """
    if wanted is not None and _is_path(wanted):
        return get_kernel(wanted, say, cache_dir)
    at_hand = kernels(cache_dir)
    packages = [kernel for kernel in at_hand if not kernel.package.startswith(_FOLDER)]
    for kernel in packages:
        if wanted is None or _is_of(kernel.release, wanted):
            return kernel
    for kernel in at_hand:
        if kernel.release == wanted:
            return kernel
    names = ", ".join(kernel.release for kernel in at_hand) or "none"
    what = f"There is no kernel {wanted} at hand" if wanted else "There is no kernel at hand"
    raise ImageError(f"{what} ({names}).", f"Get one: labrun kernel get {wanted or '6.1'}.")


def get_kernel(wanted: str, say: Say, cache_dir: Path | None = None) -> Kernel:
    """Debian's newest kernel of the series ``wanted`` (`6.1`), or that of a package's file, or of a folder.

    Raises ImageError.
    """
    _need("mksquashfs", "squashfs-tools")
    top = _top(cache_dir)
    top.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=top) as name:
        work, root = Path(name), Path(name) / "root"
        if Path(wanted).is_dir():
            package = f"{_FOLDER}{Path(wanted).resolve().name}"
            _copy(Path(wanted), root)
        else:
            file = Path(wanted) if _is_path(wanted) else _download(_newest(wanted), work, say)
            if not file.is_file():
                raise ImageError(f"There is no file or folder {wanted}.", "Name a series such as 6.1, or a .deb file.")
            _need("dpkg-deb", "dpkg")
            run("dpkg-deb", ["dpkg-deb", "-x", str(file), str(root)], log=work / "log")
            package = _title(file)
        return _keep(root, package, top, work, say)


def start_file(kernel: Kernel, init: str) -> Path:
    """The initramfs of a kernel with ``init`` as its first program: made once for each ``init``."""
    path = kernel.folder / f"initramfs-{hashlib.sha256(init.encode()).hexdigest()[:12]}"
    if not path.is_file():
        _whole(path, (kernel.folder / "base.cpio").read_bytes() + init_archive(init))
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


def _top(cache_dir: Path | None) -> Path:
    return cache_folder(cache_dir) / "kernels"


def _is_path(wanted: str) -> bool:
    return "/" in wanted or wanted.endswith(".deb") or Path(wanted).is_dir()


def _copy(folder: Path, root: Path) -> None:
    """A folder of one's own, as packages are: `boot/vmlinuz-*`, `boot/config-*`, `lib/modules/RELEASE`."""
    (root / "boot").mkdir(parents=True)
    for name in ("vmlinuz", "config"):
        for place in (folder, folder / "boot"):
            for path in sorted((*place.glob(name), *place.glob(f"{name}-*"))):
                shutil.copyfile(path, root / "boot" / f"{name}-{path.name.partition('-')[2]}")
    top = folder / "lib/modules"
    if top.is_dir():
        # `build` and `source` lead into the kernel's sources.
        skip = shutil.ignore_patterns("build", "source")
        shutil.copytree(top, root / "lib/modules", symlinks=True, ignore=skip)


def _keep(root: Path, package: str, top: Path, work: Path, say: Say) -> Kernel:
    images = sorted((root / "boot").glob("vmlinuz-*"))
    folders = sorted(path for place in ("lib/modules", "usr/lib/modules") for path in (root / place).glob("*"))
    if len(images) != 1 or len(folders) != 1:
        what = f"{package} has {len(images)} kernels and modules of {len(folders)}, and one of each is needed."
        raise ImageError(what, f"Debian: a linux-image-*-cloud package. {_TOGETHER}")
    modules = folders[0]
    if not re.fullmatch(r"[\w.+~-]+", modules.name, re.ASCII):
        raise ImageError(f"{modules.name!r} is no release of a kernel.", _TOGETHER)
    _plain(modules, work)
    image, config = _digest(images[0]), "".join(map(_digest, sorted((root / "boot").glob("config-*"))[:1]))
    whole = hashlib.sha256()
    for path in sorted(modules.rglob("*.ko")):
        whole.update(f"{path.relative_to(modules)} {_digest(path)}\n".encode())
    facts = {"release": modules.name, "package": package, "image": image, "config": config}
    facts["modules"] = whole.hexdigest()
    target = top / f"{modules.name}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]}"
    kernel = Kernel(**facts, folder=target)
    if target.is_dir():
        return kernel
    say(f"unpacking {package}")
    busybox = _busybox(work, say)
    base = str(modules.parent.parent.parent)
    run("depmod", [str(busybox), "depmod", "-b", base, modules.name], log=work / "log")
    made = work / "made"
    made.mkdir()
    shutil.copyfile(images[0], made / "vmlinuz")
    _squash(modules, made / "modules.squashfs", work / "log")
    (made / "base.cpio").write_bytes(base_archive(modules, busybox))
    (made / "kernel.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
    made.chmod(0o755)
    try:
        made.rename(target)
    except OSError:
        if not target.is_dir():  # else another labrun was as fast
            raise
    return kernel


def _plain(modules: Path, work: Path) -> None:
    """Modules without compression: the squashfs compresses them, and any modprobe can read them."""
    for path in modules.rglob("*.ko.*"):
        if path.suffix == ".zst":
            _need("zstd", "zstd")
            run("zstd", ["zstd", "-q", "-d", "--rm", str(path)], log=work / "log")
        elif path.suffix in _UNPACK:
            path.with_suffix("").write_bytes(_UNPACK[path.suffix](path.read_bytes()))
            path.unlink()


_UNPACK = {".xz": lzma.decompress, ".gz": gzip.decompress}


def _newest(series: str) -> str:
    """The name of Debian's newest cloud kernel of a series, from apt's own lists."""
    _need("apt-get", "apt")
    machine = ARCHITECTURES.get(platform.machine(), platform.machine())
    pattern = f"^linux-image-[0-9].*-cloud-{machine}$"
    done = subprocess.run(["apt-cache", "search", "--names-only", pattern], capture_output=True, text=True, check=False)
    releases = [line.split()[0].removeprefix("linux-image-") for line in done.stdout.splitlines()]
    # A meta-package's name has two numbers only.
    exact = [release for release in releases if _is_of(release, series) and release.count(".") >= 2]
    if not exact:
        known = sorted({_series(release) for release in releases if release.count(".") >= 2})
        words = f"apt's lists here have no cloud kernel {series} of Debian's ({', '.join(known) or 'none at all'})."
        raise ImageError(words, "As root: apt-get update. Or give a linux-image-*-cloud package as a .deb file.")
    return f"linux-image-{max(exact, key=_order)}"


def _download(name: str, work: Path, say: Say) -> Path:
    say(f"fetching {name}")
    before = set(work.glob("*.deb"))
    here = ["sh", "-c", 'cd "$1" && exec apt-get -q -o APT::Sandbox::User= download "$2"', "sh", str(work), name]
    run("apt-get download", here, log=work / "log")
    (package,) = set(work.glob("*.deb")) - before
    return package


def _busybox(work: Path, say: Say) -> Path:
    """A static one: this machine's if it has one, else Debian's."""
    found = shutil.which("busybox")
    if found is not None and b"/ld-linux" not in Path(found).read_bytes()[:4096]:
        return Path(found)
    if shutil.which("apt-get") is None:
        raise ImageError("There is no static busybox on this machine.", "Install one (Debian: busybox-static).")
    _need("dpkg-deb", "dpkg")
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


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _title(package: Path) -> str:
    done = subprocess.run(
        ["dpkg-deb", "-W", "--showformat=${Package} ${Version}", str(package)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or package.name


def _is_of(release: str, series: str) -> bool:
    """6.1.0-55-cloud-amd64 is of 6.1; 6.12 is not."""
    return release == series or (release.startswith(series) and not release[len(series)].isdigit())


def _series(release: str) -> str:
    return ".".join(map(str, _order(release)[:2]))


def _order(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", release.partition("-cloud")[0]))


def _need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise ImageError(f"{program} is not on this machine.", f"Debian and Ubuntu: apt install {package}.")
