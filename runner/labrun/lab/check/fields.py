"""Values that a packet field can never have: a number that has no room in it, a MAC address in capitals."""

from __future__ import annotations

from labrun.lab.check.satisfiable import Numbers, known, outcomes, told
from labrun.lab.predictions import Check
from labrun.packets.dissect.registry import FIELDS
from labrun.packets.fields import LARGEST


def impossible(name: str, check: Check) -> str | None:
    """Why no such field can pass: a number that has no room in it, a MAC address in capitals; None if one may."""
    field = FIELDS[name]
    given = known(check.operators())
    if field.kind == "int" and given:
        numbers = Numbers(0, LARGEST if field.bits is None else field.bits.of(b"\xff" * field.bits.size))
        if outcomes(given, numbers.samples(given)) == {False}:
            return f"{field.name} is never {told(given)}"
    for operator in ("contains", "lacks"):
        text = given.get(operator, "")
        if field.kind == "mac" and text != text.lower():
            return f"{field.name} is written in small letters: {text.lower()}"
    return None
