"""The findings of `labrun doctor`, one after the other; each later one needs the earlier ones.

Kernel features are probed by trying them, inside a sandbox, where labs would use them.
"""

from __future__ import annotations

import secrets
import shlex
import shutil
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from labrun.engines.base import EngineError, Isolation
from labrun.protocol.events import Fault, Hello
from labrun.protocol.features import FEATURES
from labrun.protocol.plan import Plan
from labrun.protocol.record import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """``good``: True it works, False labs cannot run without, None worth knowing.

    ``mends``: what root types to mend it, several in order; ``remedy`` is for people.
    """

    what: str
    found: str
    good: bool | None
    remedy: str | None = None
    mends: tuple[str, ...] = ()


def checkup() -> Iterator[Finding]:
    """Docker or Podman, then the kernel's own namespaces; one of them must work. Then virtual machines."""
    from labrun.cli.checkup_native import native_checkup
    from labrun.cli.checkup_vm import vm_checkup
    from labrun.cli.engines import find_daemon
    from labrun.packets.libpcap import compile_filter

    works = []
    docker: Finding | None = None
    try:
        client, why_not = find_daemon()
    except EngineError as error:
        # Named by DOCKER_HOST or a context: labrun will not go elsewhere by itself.
        yield Finding("engine", str(error), False, _engine_remedy(), _engine_mends())
    else:
        if client is None:
            docker = _no_daemon(why_not)
            yield docker
        else:
            works.append((yield from _daemon(client)))
    native, works_natively = collected(native_checkup())
    yield from native
    if not any(works) and not works_natively:
        # One engine is enough, and namespaces are there, where settings alone keep them closed.
        settings = tuple(command for finding in native for command in finding.mends)
        yield Finding(
            "engines", "none works here: see below", False, None, settings or (docker.mends if docker else ())
        )
    yield from vm_checkup()
    if compile_filter("icmp") is None:
        yield Finding("libpcap", "not on this machine: `labrun check` cannot check filters (runs can)", None,
                      "Debian and Ubuntu: apt install libpcap0.8", _install("libpcap0.8"))  # fmt: skip
    else:
        yield Finding("libpcap", "filters are checked before a run", True)


def _daemon(client: Any) -> Generator[Finding, None, bool]:
    """Findings about a daemon; whether labs can run on it."""
    from labrun.engines.docker import name_of

    version = client.version()
    words = f"{name_of(version)} {version.get('Version')} on kernel {version.get('KernelVersion')}"
    yield Finding("engine", words, True)
    yield from _limits(client.info())
    image = yield from _image(client)
    return image is None or (yield from _sandbox(client, image))


_Ends = TypeVar("_Ends")


def collected(findings: Generator[Finding, None, _Ends]) -> tuple[list[Finding], _Ends]:
    """Instead of passed on: how they are told depends on how it ends."""
    held = []
    while True:
        try:
            held.append(next(findings))
        except StopIteration as end:
            ends: _Ends = end.value
            return held, ends


def mending(findings: Iterable[Finding], uid: int) -> str | None:
    """One command that does all that the findings say would mend them; None where there is nothing to do.

    Packages are installed together, and the module of one feature that this kernel does not have keeps none of the
    others away.
    """
    commands = list(dict.fromkeys(command for finding in findings for command in finding.mends))
    packages = [word for command in commands if command.startswith(_INSTALL) for word in command.split()[3:]]
    modules = [word for command in commands if command.startswith(_LOAD) for word in command.split()[2:]]
    others = [command for command in commands if not command.startswith((_INSTALL, _LOAD))]
    first = [f"{_INSTALL} {' '.join(dict.fromkeys(packages))}"] if packages else []
    last = [f"{_LOAD} {' '.join(dict.fromkeys(modules))}"] if modules else []
    line = " && ".join([*first, *others, *last])
    if not line or uid == 0:
        return line or None
    return f"sudo {line}" if len(first) + len(others) + len(last) == 1 else f"sudo sh -c {shlex.quote(line)}"


_INSTALL = "apt-get install -y"
_LOAD = "modprobe -a"


def _install(*packages: str) -> tuple[str, ...]:
    return (f"{_INSTALL} {' '.join(packages)}",) if shutil.which("apt-get") else ()


def _no_daemon(why_not: str) -> Finding:
    from labrun.cli.engines import may_open_socket

    opens = may_open_socket()
    if opens is not None:
        return Finding("engine docker", why_not, None, None, (opens,))
    return Finding("engine docker", why_not, None, _engine_remedy(), _engine_mends())


def _engine_mends() -> tuple[str, ...]:
    start = ("systemctl start docker",) if Path("/run/systemd/system").is_dir() else ()
    return (*_install("docker.io"), *start) if shutil.which("apt-get") and not shutil.which("dockerd") else start


def _engine_remedy() -> str:
    if shutil.which("apt-get"):
        return (
            "as root: apt-get install docker.io, then start it (systemctl start docker, or dockerd); or set DOCKER_HOST"
        )
    return "install and start Docker, or set DOCKER_HOST to an engine that runs"


def _limits(info: dict[str, Any]) -> Iterator[Finding]:
    missing = [name for key, name in (("MemoryLimit", "memory"), ("PidsLimit", "pids")) if not info.get(key)]
    if missing:
        yield Finding("limits", f"the engine cannot limit {', '.join(missing)}", None,
                      "labs by strangers could exhaust this machine; enable these cgroup controllers")  # fmt: skip
    else:
        yield Finding("limits", "memory and pids of a lab are bounded", True)


def _image(client: Any) -> Any:
    from labrun.image.build import find_image
    from labrun.image.errors import ImageError
    from labrun.image.recipe import load_recipe

    try:
        recipe = load_recipe()
        image = find_image(client, recipe)
    except ImageError as error:
        yield Finding("image", error.what, False, error.remedy)
        return None
    if image is None:
        yield Finding("image", f"{recipe.tag} is not built yet", None, "labrun image build (the first run does it too)")
    else:
        yield Finding("image", recipe.tag, True)
    return image


def _sandbox(client: Any, image: str) -> Generator[Finding, None, bool]:
    """A privileged sandbox, then one with least capabilities; kernel features in whichever works."""
    from labrun.engines.docker import DockerEngine

    works: Isolation | None = None
    wanted: tuple[Isolation, ...] = ("privileged", "least")
    for isolation in wanted:
        try:
            with DockerEngine(client, image, image, isolation, f"doctor-{secrets.token_hex(3)}") as engine:
                got = engine.info
                if got.isolation != isolation:
                    yield Finding(f"--isolation {isolation}", f"refused; runs fall back to least ({got.note})", None)
                else:
                    yield Finding(f"--isolation {isolation}", "a sandbox starts", True)
                    works = works or isolation
        except EngineError as error:
            yield Finding(f"--isolation {isolation}", str(error), False)
    if works is None:
        return False
    with DockerEngine(client, image, image, works, f"doctor-{secrets.token_hex(3)}") as engine:
        return (yield from features(engine, "docker"))


def features(engine: Any, name: str) -> Generator[Finding, None, bool]:
    """A plan that requires every feature there is: what is lacking is in its answer. Whether a sandbox worked."""
    plan = Plan("doctor", "experiment", (), (), features=tuple(FEATURES)).sealed()
    without: dict[str, str] = {}
    trouble: str | None = None
    greeted = False
    try:
        with engine.sandbox(plan, "doctor") as frames:
            for frame in frames:
                if isinstance(frame, Hello):
                    greeted = True
                    words = f"{frame.kernel} {frame.machine}, python {frame.python}, programs of the {frame.userland}"
                    yield Finding(f"sandbox ({name})", words, True)
                elif isinstance(frame, Fault) and frame.code == "missing-feature":
                    without = {str(k): str(v) for k, v in (frame.detail or {}).get("lacking", {}).items()}
                elif isinstance(frame, Fault):
                    trouble = frame.message
    except EngineError as error:
        trouble = str(error)
    if trouble is not None or not greeted:
        yield Finding(f"sandbox ({name})", trouble or "it said nothing", False)
        return False
    there = [feature for feature in FEATURES if feature not in without]
    yield Finding(f"kernel has ({name})", ", ".join(there), True)
    if without:
        words = ", ".join(f"{feature} ({why})" for feature, why in without.items())
        mends = () if name == "vm" else _kernel_mends(without)  # what this machine's own kernel loads is no help there
        yield Finding(f"kernel lacks ({name})", words, None, _kernel_remedy(tuple(without), name), mends)
        skipped = _labs_that_need(set(without))
        if skipped:
            yield Finding("labs", f"skipped here: {', '.join(skipped)}", None)
    return True


def _kernel_remedy(without: tuple[str, ...], engine: str) -> str:
    if engine == "vm":
        return "another kernel may have them: labrun kernel get; labs that require what is lacking are skipped"
    words = []
    modules = [FEATURES[name].module for name in without if name != "tun"]
    if modules:
        words.append(f"as root: modprobe -a {' '.join(modules)} (Ubuntu: apt install linux-modules-extra-$(uname -r))")
    if "tun" in without:
        words.append("for tun as root: modprobe tun; chmod 666 /dev/net/tun")
    return "; ".join(words) + "; labs that require what is lacking are skipped with that reason"


def _kernel_mends(without: Iterable[str]) -> tuple[str, ...]:
    modules = [FEATURES[name].module for name in without]
    tun = ("chmod 666 /dev/net/tun",) if "tun" in without and Path("/dev/net/tun").exists() else ()
    return (*tun, f"{_LOAD} {' '.join(dict.fromkeys(modules))}")


def _labs_that_need(without: set[str]) -> list[str]:
    """The labs at hand that will be skipped, each with what it needs."""
    from labrun.lab.catalogue import all_labs, labs_folder
    from labrun.lab.load import load_lab
    from labrun.lab.problems import LabError

    found = []
    for path in all_labs(labs_folder(Path.cwd())):
        try:
            needs = without & set(load_lab(path).model.requires.kernel)
        except LabError:
            continue
        if needs:
            found.append(f"{path.parent.name} (needs {', '.join(sorted(needs))})")
    return found
