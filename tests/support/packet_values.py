"""All values of a field in a packet, whatever header stack they are in, as Wireshark shows them."""

from __future__ import annotations

from labrun.packets.dissect.layer import CUT, Cut, Value
from labrun.packets.dissect.registry import FIELDS
from labrun.packets.dissect.walk import walk


def values(data: bytes, linktype: int, name: str, length: int | None = None, interface: str = "") -> tuple[Value, ...]:
    """In the packet's order. Those that the capture did not keep are left out."""
    field, length = FIELDS[name], len(data) if length is None else length
    if field.read is None:
        frame: dict[str, Value] = {"frame.len": length, "frame.cap_len": len(data), "frame.interface_name": interface}
        return (frame[name],)
    found: list[Value | Cut] = []
    for layer in walk(data, linktype, length)[0]:
        if layer.protocol in (field.protocol, field.also) and (field.quoted or layer.part != "quoted"):
            found += field.read(data, layer.start, layer.end)
    return tuple(value for value in found if value is not CUT and not isinstance(value, Cut))
