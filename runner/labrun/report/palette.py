"""CSS for the terminal colours that a page really uses, readable on light and on dark paper.

The page's policy forbids style attributes, so each colour is a class. The 16 colours of a terminal are variables of
the style sheet; of the other 240, a colour on the page's own background is shifted until it can be read (WCAG 2.2
asks for a contrast of 4.5), and a background brings black or white text with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from labrun.report.ansi import Style, rgb

Colour = tuple[int, int, int]
LIGHT_TERMINAL: Colour = (0xF4, 0xF2, 0xED)  # --terminal in style.css
DARK_TERMINAL: Colour = (0x0E, 0x11, 0x14)
_CONTRAST = 4.6


def palette_css(styles: Iterable[Style]) -> str:
    """Rules for the classes fN and bN, sorted, so that the same page has the same bytes."""
    names = {name for style in styles for name in style.classes() if name[0] in "fb" and name[1:].isdigit()}
    # On a coloured background of the terminal's own 16 the text is the paper's colour, which is sure to be read.
    own = [
        f".{name}{{color:var(--c{name[1:]})}}" if name[0] == "f" else
        f".{name}.{name}{{background:var(--c{name[1:]});color:var(--terminal)}}"
        for name in sorted(names, key=lambda each: (each[0] == "b", int(each[1:]))) if int(name[1:]) <= 15
    ]  # fmt: skip
    fronts = sorted(int(name[1:]) for name in names if name[0] == "f" and int(name[1:]) > 15)
    backs = sorted(int(name[1:]) for name in names if name[0] == "b" and int(name[1:]) > 15)
    light = [f".f{n}{{color:{_hex(_readable(rgb(n), LIGHT_TERMINAL))}}}" for n in fronts]
    dark = [f".f{n}{{color:{_hex(_readable(rgb(n), DARK_TERMINAL))}}}" for n in fronts]
    # Twice the class outweighs .fN: on a coloured background only black or white is sure to be read.
    flat = [f".b{n}.b{n}{{background:{_hex(rgb(n))};color:{_hex(_ink(rgb(n)))}}}" for n in backs]
    dark_rules = "@media (prefers-color-scheme:dark){" + "".join(dark) + "}" if dark else ""
    return "".join(own) + "".join(light) + dark_rules + "".join(flat)


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


def _luminance(colour: Colour) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Colour, other: Colour) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _ink(background: Colour) -> Colour:
    return (0, 0, 0) if _luminance(background) > 0.179 else (255, 255, 255)


def _readable(colour: Colour, paper: Colour) -> Colour:
    """The colour, moved towards black or white until it stands out from the paper."""
    goal = _ink(paper)[0]
    for step in range(21):
        share = step / 20
        red, green, blue = (round(part + (goal - part) * share) for part in colour)
        if contrast((red, green, blue), paper) >= _CONTRAST:
            return red, green, blue
    return goal, goal, goal
