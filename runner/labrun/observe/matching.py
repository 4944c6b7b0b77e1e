"""Does this packet match? A pcap-filter expression as bytecode, and typed fields, as one predicate over packets."""

from __future__ import annotations

import re
from collections.abc import Callable

from labrun.evidence.record import VariantRecord
from labrun.lab.predictions import PacketSelector
from labrun.logic.compare import Truth, all_of
from labrun.observe.unknown import Unknown
from labrun.packets.bpf import translate
from labrun.packets.fields import Matcher, compile_fields
from labrun.packets.laid_open import laid_open
from labrun.packets.libpcap import FilterSyntaxError, compile_filter
from labrun.packets.segments import Offload

_ETHERNET, _RAW = 1, 101  # LINKTYPE_: what the agent writes

Filter = Callable[[bytes, int], int]


class Matching:
    """A selector's expression and field checks as one predicate. ``trouble``: why it could not be asked of a packet.

    The expression comes as bytecode from the evidence, else from the host's libpcap, for each link type. ``hidden``:
    how many packets it passed over only for what stands before their transport (see `laid_open`); of these the answer
    is not known, for a field check finds them.
    """

    def __init__(self, variant: VariantRecord, selector: PacketSelector) -> None:
        self._variant = variant
        self._expression = selector.match
        self._known: dict[int, Filter | Unknown | None] = {}
        self.trouble: Unknown | None = None
        self.hidden: dict[str, int] = {}
        self._tags = "vlan" not in (selector.match or "")
        self._fields: Matcher | None = None
        try:
            checks = selector.checks()
            if any(checks.values()):
                self._fields = compile_fields(checks["fields"], checks["inner"], checks["quoted"])
        except (ValueError, re.error) as error:  # a saved value that the field can never have
            self.trouble = Unknown("type-mismatch", f"fields: {error}")

    def __call__(
        self, data: bytes, linktype: int, length: int, interface: str, offload: Offload | None = None, /
    ) -> Truth:
        truth: Truth = True
        hidden: str | None = None
        if self._expression is not None:
            if linktype not in self._known:
                self._known[linktype] = self._compile(self._expression, linktype)
            compiled = self._known[linktype]
            if isinstance(compiled, Unknown):
                self.trouble = self.trouble or compiled
                return None
            if compiled is None or not compiled(data, length):
                # A program stops with "no" where it looks past what was kept.
                truth = False if compiled is None or len(data) >= length else None
                if truth is False and compiled is not None and (opened := laid_open(data, linktype, self._tags)):
                    plain, by = opened
                    if compiled(plain, len(plain)):
                        truth = None
                        hidden = by
        if truth is not False and self._fields is not None:
            truth = all_of((truth, self._fields(data, linktype, length, interface, offload)))
        if truth is None and hidden is not None:
            self.hidden[hidden] = self.hidden.get(hidden, 0) + 1
        return truth

    def _compile(self, expression: str, linktype: int) -> Filter | Unknown | None:
        """None: the expression makes no sense for this link type, so no such packet matches."""
        programs = self._variant.hello.programs if self._variant.hello is not None else ()
        mine = {program.linktype: program for program in programs if program.expression == expression}
        if linktype in mine:
            return translate(mine[linktype].instructions)
        if linktype not in (_ETHERNET, _RAW):
            return Unknown("unknown-link-type", f"no filter can be judged on packets of link type {linktype}")
        if mine:
            return None
        try:
            compiled = compile_filter(expression, linktype)
        except FilterSyntaxError as error:
            if linktype != _ETHERNET and not isinstance(self._compile(expression, _ETHERNET), Unknown):
                return None
            return Unknown("bad-filter", f"'{expression}': {error}")
        if compiled is None:
            text = f"'{expression}' was not compiled in the sandbox, and this machine has no libpcap (libpcap0.8)"
            return Unknown("missing-tool", text)
        return translate(compiled)
