"""A place in the evidence, as a reader would look it up."""

from __future__ import annotations

from labrun.protocol.record import dataclass


@dataclass(frozen=True, slots=True)
class Ref:
    """A place in the evidence. ``file`` is relative to the run directory; lines and packets count from 1."""

    file: str
    line: int | None = None
    packets: tuple[int, ...] = ()
    path: str | None = None  # of an object in a JSON file, such as nodes.ns1.links[0]

    def __str__(self) -> str:
        if self.packets:
            numbers = ", ".join(str(number) for number in self.packets)
            return f"{self.file} packet{'s' if len(self.packets) > 1 else ''} {numbers}"
        if self.path:
            return f"{self.file} {self.path}"
        return f"{self.file}:{self.line}" if self.line else self.file
