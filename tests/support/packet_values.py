"""All values of a field in a packet, whatever header stack they are in, as Wireshark shows them."""

from __future__ import annotations

from labrun.packets.dissect.layer import CUT, Cut, Value
from labrun.packets.dissect.registry import FIELDS
from labrun.packets.dissect.walk import walk
from labrun.packets.fields import values as of_header


def values(data: bytes, linktype: int, name: str, length: int | None = None, interface: str = "") -> tuple[Value, ...]:
    """In the packet's order. Those that the capture did not keep are left out."""
    field, length = FIELDS[name], len(data) if length is None else length
    if field.protocol == "frame":
        frame: dict[str, Value] = {"frame.len": length, "frame.cap_len": len(data), "frame.interface_name": interface}
        return (frame[name],)
    found: list[Value | Cut] = []
    layers, _ = walk(data, linktype, length)
    for place in range(len(layers)):
        found += of_header(field, data, layers, place, None)
    return tuple(value for value in found if value is not CUT and not isinstance(value, Cut))
