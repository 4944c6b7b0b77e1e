"""Terminal output as coloured, harmless text: SGR colours and weights become spans, everything else stays visible.

Only "select graphic rendition" (ECMA-48 8.3.117) is understood. A cursor movement, a title change, a hyperlink or a
clipboard write is shown as text with ␛ in front: a report shows what a command printed, it does not act on it.
Concealed text (SGR 8) is not concealed, and blinking text does not blink; their escapes are shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from labrun.logic.visible import is_plain, sign
from labrun.protocol.record import dataclass

# Parameters may be empty (0) and, in colours, separated by colons (ISO 8613-6).
_SGR = re.compile(r"\x1b\[([0-9;:]{0,64})m")
_WEIGHTS = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike"}
_RESETS = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 27: ("inverse",), 29: ("strike",)}
_CUBE = (0, 95, 135, 175, 215, 255)  # the levels of xterm's 6x6x6 cube, colours 16 to 231


@dataclass(frozen=True, slots=True)
class Style:
    """How text looks: colours as xterm numbers 0 to 255 (0 to 15 are the terminal's own), and weights by name."""

    foreground: int | None = None
    background: int | None = None
    weights: frozenset[str] = frozenset()

    def classes(self) -> tuple[str, ...]:
        """CSS classes, sorted: fN, bN, and the weights."""
        front, back = self.foreground, self.background
        if "inverse" in self.weights:
            front, back = back, front
            if front is None and back is None:
                return (*sorted(self.weights - {"inverse"}), "inverse")
        colours = [f"f{front}"] if front is not None else []
        colours += [f"b{back}"] if back is not None else []
        return (*colours, *sorted(self.weights - {"inverse"}))


PLAIN = Style()


@dataclass(frozen=True, slots=True)
class Span:
    """Some text of one look. ``control``: the text is the sign of something that was not obeyed."""

    text: str
    style: Style = PLAIN
    control: bool = False


Line = tuple[Span, ...]


def terminal_lines(text: str) -> tuple[Line, ...]:
    """The text line by line. A final line break does not make an empty last line."""
    lines: list[list[Span]] = [[]]
    for span in _spans(text):
        if span.control:
            lines[-1].append(span)
            continue
        first, *rest = span.text.split("\n")
        if first:
            lines[-1].append(replace(span, text=first))
        for part in rest:
            lines.append([replace(span, text=part)] if part else [])
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    return tuple(tuple(line) for line in lines)


def plain_text(lines: tuple[Line, ...]) -> str:
    """Without colours, for Markdown and XML."""
    return "\n".join("".join(span.text for span in line) for line in lines)


def _spans(text: str) -> Iterator[Span]:
    style = PLAIN
    end = 0
    for match in _SGR.finditer(text):
        yield from _visible_spans(text[end : match.start()], style)
        style, understood = _apply(style, match[1])
        if not understood:
            yield Span("␛" + match[0][1:], style, control=True)
        end = match.end()
    yield from _visible_spans(text[end:], style)


def _visible_spans(text: str, style: Style) -> Iterator[Span]:
    start = 0
    for index, char in enumerate(text):
        if char in "\n\t" or is_plain(char):
            continue
        if index > start:
            yield Span(text[start:index], style)
        yield Span(sign(char), style, control=True)
        start = index + 1
    if start < len(text):
        yield Span(text[start:], style)


def _apply(style: Style, parameters: str) -> tuple[Style, bool]:
    """The style after an SGR sequence, and whether all of it was understood."""
    codes = [int(part) if part else 0 for part in re.split("[;:]", parameters)]
    understood = True
    while codes:
        code = codes.pop(0)
        if code == 0:
            style = PLAIN
        elif code in _WEIGHTS:
            style = replace(style, weights=style.weights | {_WEIGHTS[code]})
        elif code in _RESETS:
            style = replace(style, weights=style.weights - set(_RESETS[code]))
        elif code in (38, 48):
            colour = _extended(codes)
            understood = understood and colour is not None
            style = replace(style, foreground=colour) if code == 38 else replace(style, background=colour)
        elif code == 39:
            style = replace(style, foreground=None)
        elif code == 49:
            style = replace(style, background=None)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = replace(style, foreground=code - 30 if code < 90 else code - 82)
        elif 40 <= code <= 47 or 100 <= code <= 107:
            style = replace(style, background=code - 40 if code < 100 else code - 92)
        else:
            understood = False
    return style, understood


def _extended(codes: list[int]) -> int | None:
    """The colour that follows 38 or 48: 5;N, or 2;R;G;B brought to the nearest of the 256. Takes its codes away."""
    kind = codes.pop(0) if codes else None
    if kind == 5 and codes:
        number = codes.pop(0)
        return number if number <= 255 else None
    if kind == 2 and len(codes) >= 3:
        red, green, blue = (_nearest(codes.pop(0)) for _ in range(3))
        return 16 + 36 * red + 6 * green + blue
    codes.clear()
    return None


def _nearest(value: int) -> int:
    return min(range(6), key=lambda level: abs(_CUBE[level] - value))


def rgb(number: int) -> tuple[int, int, int]:
    """The colour of 16 to 255, as xterm has them: the cube, then 24 greys."""
    if number >= 232:
        grey = 8 + 10 * (number - 232)
        return grey, grey, grey
    number -= 16
    return _CUBE[number // 36], _CUBE[number // 6 % 6], _CUBE[number % 6]
