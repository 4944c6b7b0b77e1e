"""What the sandboxes were made of, once for all labs whose sandboxes were alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from labrun.evidence.record import VariantRecord
from labrun.protocol.events import Hello
from labrun.report.view import Environment
from labrun.report.visible import one_line

_Made = tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...], tuple[str, ...]]


def _settings(hello: Hello) -> Iterable[tuple[str, str]]:
    return sorted((hello.settings or {}).items())


def _digest(packages: Iterable[tuple[str, str]]) -> str:
    """The same wherever a sandbox has the same programs, whatever engine made it."""
    text = "".join(f"{name} {version}\n" for name, version in packages)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def environments(labs: Iterable[tuple[str, Iterable[VariantRecord]]]) -> tuple[Environment, ...]:
    """One where all were alike, as they should be; in the order in which the labs ran."""
    found: dict[_Made, dict[str, None]] = {}
    for slug, variants in labs:
        for variant in variants:
            hello = variant.hello
            if hello is None:
                continue
            facts = (
                ("Kernel", one_line(hello.kernel)), ("Machine", one_line(hello.machine)),
                ("Python in the sandbox", one_line(hello.python)), ("Agent", one_line(hello.agent)),
                *((f"Kernel's {one_line(name)}", one_line(text)) for name, text in (hello.kernel_build or {}).items()),
                *((f"{one_line(name)}, the machine's own", one_line(value)) for name, value in _settings(hello)),
            )  # fmt: skip
            packages = tuple(sorted((one_line(name), one_line(text)) for name, text in hello.packages.items()))
            facts = (*facts, ("Digest of the packages", _digest(packages))) if packages else facts
            capabilities = tuple(sorted(one_line(name) for name in hello.capabilities))
            found.setdefault((facts, packages, capabilities), {})[one_line(slug)] = None
    return tuple(Environment(tuple(labs), *made) for made, labs in found.items())
