"""Which engine a run gets, and why: chosen once, said in one line, recorded.

``auto`` takes a Docker engine that answers (Docker's, or Podman's socket, which speaks the same), else the kernel's own
namespaces. An engine that was named, by --engine or DOCKER_HOST, is never replaced by another.
"""

from __future__ import annotations

import json
import os
import platform
import pwd
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labrun.cli.options import EngineName, IsolationName, UserlandName
from labrun.engines.base import EngineError
from labrun.protocol.record import dataclass

if TYPE_CHECKING:
    from labrun.engines.native import NativeEngine
    from labrun.engines.userland import Userland
    from labrun.engines.vm import Machine
    from labrun.image.kernel import Kernel
    from labrun.image.recipe import Recipe

Say = Callable[[str], None]
_SANDBOXES = 1_000_000  # more than one engine makes in a run
DOCKER_SOCKET = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class Choice:
    """``reason``: why this engine, where labrun chose."""

    engine: Any
    reason: str | None


def at_once(engine: EngineName, userland: UserlandName, kernel: str | None) -> bool:
    """Whether `choose` takes no time and builds nothing: then sandboxes can start while labs are still being read."""
    if kernel is not None:
        return False
    from labrun.image.kept import find_rootfs
    from labrun.image.recipe import load_recipe

    if engine is EngineName.auto and userland is not UserlandName.host:
        sockets = [DOCKER_SOCKET, *podman_sockets()]
        native = _named_engine() is None and not any(map(_existing, sockets))
    else:
        native = engine in (EngineName.native, EngineName.auto)
    return native and (userland is UserlandName.host or find_rootfs(load_recipe()) is not None)


def choose(
    engine: EngineName,
    userland: UserlandName,
    isolation: IsolationName | None,
    run_id: str,
    say: Say,
    jobs: int = 1,
    kernel: str | None = None,
) -> Choice:
    """``jobs``: how many sandboxes there will be at a time. Raises EngineError and ImageError."""
    if engine is EngineName.vm or (kernel is not None and engine is EngineName.auto):
        _not_for_native(isolation)
        reason = "--kernel asks for one" if engine is EngineName.auto else None
        return Choice(_vm(kernel, userland, run_id, say, jobs), reason)
    if kernel is not None:
        words = f"--kernel needs --engine vm: on {engine.value} labs run on this machine's own kernel"
        raise EngineError("sandbox-refused", words)
    if engine is EngineName.native:
        _not_for_native(isolation)
        return Choice(_native(userland, run_id, say, jobs), None)
    if engine is EngineName.podman:
        return Choice(_docker(podman_client(), userland, isolation, run_id, say), None)
    if engine is EngineName.docker:
        from labrun.engines.docker import connect

        return Choice(_docker(connect(), userland, isolation, run_id, say), None)
    if userland is UserlandName.host:
        return Choice(_native(userland, run_id, say, jobs), "--userland host is this machine's own")
    client, why_not = find_daemon()
    if client is not None:
        return Choice(_docker(client, userland, isolation, run_id, say), "it answers")
    _not_for_native(isolation)
    return Choice(_native(userland, run_id, say, jobs), why_not)


def _not_for_native(isolation: IsolationName | None) -> None:
    if isolation is IsolationName.privileged:
        words = "the native engine is never privileged: leave --isolation out, or use --engine docker"
        raise EngineError("sandbox-refused", words)


def find_daemon() -> tuple[Any, str]:
    """A client for an engine that answers, or None and why. Without a socket, docker is not even imported.

    Raises EngineError where DOCKER_HOST or the context names an engine and that does not answer.
    """
    named = _named_engine()
    if named is None and not _existing(DOCKER_SOCKET):
        for socket in podman_sockets():
            try:
                return _connect_to(socket), ""
            except EngineError:
                continue
        return None, _refused() or "no Docker or Podman socket here"
    from labrun.engines.docker import connect

    try:
        return connect(timeout_s=60), ""
    except EngineError as error:
        if named is not None:
            raise EngineError(error.code, f"{error} ({named}); start it, or choose another: --engine native") from error
        return None, f"{error}"


def _named_engine() -> str | None:
    """How the user named an engine that is not the default one."""
    if os.environ.get("DOCKER_HOST"):
        return f"DOCKER_HOST is {os.environ['DOCKER_HOST']}"
    context = os.environ.get("DOCKER_CONTEXT")
    if not context:
        folder = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker"))
        try:
            context = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("currentContext")
        except (OSError, ValueError, AttributeError):
            return None
    return f"the docker context is {context}" if context and context != "default" else None


def podman_sockets() -> tuple[str, ...]:
    """Podman's Docker-compatible sockets that exist: the named one, the user's, the system's."""
    found = [os.environ.get("CONTAINER_HOST", "")]
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    found += [f"unix://{runtime}/podman/podman.sock", "unix:///run/podman/podman.sock"]
    return tuple(socket for socket in dict.fromkeys(found) if socket and _existing(socket))


def podman_client() -> Any:
    """Raises EngineError with what to do."""
    sockets = podman_sockets()
    if not sockets:
        start = "systemctl --user start podman.socket, or `podman system service --time 0 &`"
        raise EngineError("engine-unreachable", f"no Podman socket here: {start}")
    return _connect_to(sockets[0])


def _refused() -> str | None:
    """That Docker's socket is there and this account may not open it."""
    command = may_open_socket()
    if command is None:
        return None
    path = DOCKER_SOCKET.removeprefix("unix://")
    return f"{path} is there, and this account may not open it: as root: {command}; log in again"


def may_open_socket() -> str | None:
    """What root types so that this account may open Docker's socket; None where it may, or there is none."""
    path = Path(DOCKER_SOCKET.removeprefix("unix://"))
    return f"usermod -aG docker {_account()}" if path.exists() and not _existing(DOCKER_SOCKET) else None


def _account() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _existing(socket: str) -> bool:
    """Sockets elsewhere (tcp, ssh) are taken to exist. One that we may not use counts as not there."""
    path = socket.removeprefix("unix://")
    return path == socket or os.access(path, os.R_OK | os.W_OK)


def _connect_to(host: str) -> Any:
    from labrun.engines.docker import connect

    return connect(host=host)


def _docker(client: Any, userland: UserlandName, isolation: IsolationName | None, run_id: str, say: Say) -> Any:
    """A daemon with the lab image, built now if its recipe has none."""
    from labrun.engines.docker import DockerEngine
    from labrun.image.build import ensure_image
    from labrun.image.recipe import load_recipe

    if userland is UserlandName.host:
        raise EngineError("sandbox-refused", "--userland host needs --engine native: a container has an image")
    recipe = load_recipe()
    image_id = ensure_image(client, recipe, say)
    return DockerEngine(client, recipe.tag, image_id, (isolation or IsolationName.privileged).value, run_id)


def _native(userland: UserlandName, run_id: str, say: Say, jobs: int) -> NativeEngine:
    from labrun.engines.native import NativeEngine

    found, note = native_userland(userland, say)
    return NativeEngine(found, run_id, note=note, ahead=jobs)


def _vm(kernel: str | None, userland: UserlandName, run_id: str, say: Say, jobs: int) -> NativeEngine:
    """Machines with a kernel at hand, the newest if none is named. Raises EngineError and ImageError."""
    from labrun.engines.vm import VmEngine
    from labrun.image.kernel import find_kernel
    from labrun.image.recipe import load_recipe

    if userland is UserlandName.host:
        raise EngineError("sandbox-refused", "--userland host needs --engine native: a virtual machine has an image")
    qemu = see_to_qemu()
    recipe = load_recipe()
    return VmEngine(machine(qemu, find_kernel(kernel, say), native_rootfs(recipe, say)), recipe.tag, run_id, ahead=jobs)


def see_to_qemu() -> str:
    """Raises EngineError with what to do."""
    from labrun.engines.vm import MACHINES, find_qemu

    kind = platform.machine()
    if kind not in MACHINES:
        raise EngineError("engine-unreachable", f"virtual machines are for {', '.join(MACHINES)}, and this is {kind}")
    qemu = find_qemu()
    if qemu is None:
        package = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm"}[kind]
        raise EngineError("engine-unreachable", f"no QEMU here. Debian and Ubuntu: apt install {package}")
    return qemu


def machine(qemu: str, kernel: Kernel, rootfs: Path) -> Machine:
    """Raises ImageError."""
    from labrun.engines.vm import Machine, init_script
    from labrun.image.kernel import image_file, start_file

    start = start_file(kernel, init_script(kernel.release, kernel.identity))
    files = (kernel.folder / "vmlinuz", start, kernel.folder / "modules.squashfs", image_file(rootfs))
    return Machine(qemu, kernel.release, kernel.package, *files)


def native_userland(userland: UserlandName, say: Say) -> tuple[Userland, str | None]:
    """The userland, and why it is the host's if the image's would have been preferred. Raises ImageError."""
    from labrun.engines.userland import host_userland, image_userland
    from labrun.image.errors import ImageError, NoRoom
    from labrun.image.recipe import load_recipe

    recipe = load_recipe()
    if userland is UserlandName.host:
        return host_userland(_packages(recipe)), None
    try:
        return image_userland(recipe.tag, native_rootfs(recipe, say)), None
    except ImageError as error:
        if userland is UserlandName.image or isinstance(error, NoRoom):
            raise
        note = f"the host's own programs: {error.what}"
        return host_userland(_packages(recipe)), note


def native_rootfs(recipe: Recipe, say: Say) -> Path:
    """The image's root file system, unpacked now from Docker or a build if it is not there. Raises ImageError."""
    from labrun.image.kept import find_rootfs

    found = find_rootfs(recipe)
    if found is not None:
        return found
    from labrun.engines.native import FIRST_ID
    from labrun.image.rootfs import ensure_rootfs

    try:
        client, _ = find_daemon()
    except EngineError:
        client = None
    return ensure_rootfs(recipe, say, first_id=FIRST_ID if os.geteuid() == 0 else None, client=client)


def with_packages(engine: Any, wanted: Iterable[tuple[str, ...]], stack: ExitStack, say: Say) -> Any:
    """The engine, and one beside it for each of these sets of Debian packages, whose images are built now if need be.

    Where an image cannot be had, the plans that need it are told why, and skipped.
    """
    from labrun.engines.several import SeveralEngines
    from labrun.image.errors import ImageError

    others: dict[tuple[str, ...], Any] = {}
    for number, packages in enumerate(sorted(set(wanted)), start=1):
        try:
            others[packages] = stack.enter_context(_sibling(engine, packages, 1 + number * _SANDBOXES, say))
        except (EngineError, ImageError) as error:
            why = getattr(error, "what", None) or str(error)
            others[packages] = EngineError("missing-tool", f"no image with {', '.join(packages)}: {why}")
    return SeveralEngines(engine, others) if others else engine


def _sibling(engine: Any, packages: tuple[str, ...], first: int, say: Say) -> Any:
    """Raises EngineError and ImageError."""
    from labrun.image.recipe import load_recipe
    from labrun.image.recipe import with_packages as with_these

    info = engine.info
    recipe = with_these(load_recipe(), packages)
    if info.name in ("docker", "podman"):
        from labrun.image.build import ensure_image

        return engine.sibling(recipe.tag, ensure_image(engine.client, recipe, say), first)
    if info.name == "native" and info.userland == "image":
        from labrun.engines.userland import image_userland

        return engine.sibling(image_userland(recipe.tag, native_rootfs(recipe, say)), first)
    words = "this machine's own programs" if info.name == "native" else f"the {info.name} engine"
    raise EngineError("missing-tool", f"packages come with the lab image, and this run has {words}")


def _packages(recipe: Recipe) -> tuple[str, ...]:
    """The Debian packages of the recipe: on the host their versions are what to record."""
    lines = (recipe.root / "packages.txt").read_text(encoding="utf-8").splitlines()
    names = (line.partition("#")[0].strip() for line in lines)
    return tuple(name for name in names if name)
