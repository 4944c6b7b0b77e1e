"""How much one page may hold. A report of anything must open at once, so what it takes is given out as it is built.

Each lab gets its share before the next: the same run has the same page, and its memory is bounded while it is made.
What a report leaves out, it says, and where the whole is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from labrun.packets.pcapng import Packet

MAX_PAGE = 10_000_000  # bytes of the HTML page, whatever ran
_ROWS = 6_000  # packet rows, of a page; a row takes some 500 bytes
_DUMPS = 400  # hex dumps, of a page; one takes some 4 KiB
_DUMPS_OF_VARIANT = 24
_CITED_DUMPS_OF_VARIANT = 12  # more, for packets that a verdict refers to
_LINES = 25_000  # of outputs
_TEXT = 2_500_000  # characters of outputs
_INLINE = 2_500_000  # bytes of captures
_FILES = 1_500_000  # bytes of lab files
_LEAST_ROWS = 8
_LEAST_LINES = 12


@dataclass(slots=True)
class Room:
    """What is left. Asking takes."""

    rows_left: int = _ROWS
    dumps_left: int = _DUMPS
    lines_left: int = _LINES
    text_left: int = _TEXT
    inline_left: int = _INLINE
    files_left: int = _FILES
    files: set[str] = field(default_factory=set)
    """The digests of the lab files that the page has."""
    packets: Mapping[str, Packet] = field(default_factory=dict)
    """Those of the variant that is being built, by the anchors of their rows."""
    _variant: int = 0
    _cited: int = 0

    def next_variant(self, packets: Mapping[str, Packet], is_control: bool) -> None:
        """In a control just what a verdict refers to is shown byte by byte."""
        self.packets = packets
        self._variant, self._cited = 0 if is_control else _DUMPS_OF_VARIANT, _CITED_DUMPS_OF_VARIANT

    def rows(self, wanted: int) -> int:
        """How many rows a capture may show."""
        return max(_LEAST_ROWS, min(wanted, self.rows_left // 4))

    def took_rows(self, count: int) -> None:
        self.rows_left = max(0, self.rows_left - count)

    def dump(self, cited: bool) -> bool:
        """May this packet be shown byte by byte?"""
        if self.dumps_left <= 0:
            return False
        if self._variant > 0:
            self._variant -= 1
        elif cited and self._cited > 0:
            self._cited -= 1
        else:
            return False
        self.dumps_left -= 1
        return True

    def lines(self, wanted: int) -> int:
        """How many lines of an output may be shown."""
        return max(_LEAST_LINES, min(wanted, self.lines_left // 4))

    def text(self, wanted: int) -> int:
        """How many characters of an output may be shown."""
        return max(1024, min(wanted, self.text_left // 4))

    def took(self, lines: int, characters: int) -> None:
        self.lines_left = max(0, self.lines_left - lines)
        self.text_left = max(0, self.text_left - characters)

    def lab_file(self, digest: str, size: int) -> bool:
        """May the page have a lab's file of so many bytes?"""
        if size > self.files_left:
            return False
        self.files_left -= size
        self.files.add(digest)
        return True

    def inline(self, size: int) -> bool:
        """May a file of so many bytes be carried in the page?"""
        if size > self.inline_left:
            return False
        self.inline_left -= size
        return True
