"""What an author probably meant, after an error whose words alone do not show the way: one short sentence each."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

# Signs that people know from programming languages -> our operators.
OPERATORS = {
    "==": "equals",
    "=": "equals",
    "<": "lt",
    "<=": "le",
    ">": "gt",
    ">=": "ge",
    "=~": "matches",
    "~": "matches",
    "in": "one_of",
}
_TO_RUN = frozenset(("exec", "cmd", "command", "shell", "bash", "sh", "script", "execute", "do"))
_COMPARISON = re.compile(r"\s*(==|=|<=|<|>=|>)\s*(-?\d[\d._a-z]*)\s*")
# wireshark-filter(4): a field, a comparison, a value.
_DISPLAY = re.compile(
    r"([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+)\s*(==|<=|>=|<|>|\b(?:eq|lt|le|gt|ge|contains)\b)\s*([^\s!=<>&|()]+)"
)
_AND = re.compile(r"\s*(?:&&|\band\b)\s*")
_WORDS = {"eq": "equals", **{word: word for word in ("lt", "le", "gt", "ge", "contains")}}
_SHAPES: tuple[tuple[tuple[str | type, ...], str], ...] = (
    (("topology",), "topology: {nodes: {a: {}, b: {}}, links: [{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24}]}"),
    (("topology", "nodes"), "nodes: {a: {}, b: {}}"),
    (("topology", "nodes", str), "a: {}"),
    (("topology", "links"), "links: [{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24}]"),
    (("topology", "links", int), "{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24}"),
    (("steps",), "steps: [{id: probe, in: a, run: ping -c 1 10.0.0.2}]"),
    (("steps", int), "{id: probe, in: a, run: ping -c 1 10.0.0.2}"),
    (("hypotheses",), "hypotheses: [{id: answers, claim: b answers, predict: {command: probe, exit: 0}}]"),
    (("hypotheses", int), "{id: answers, claim: b answers, predict: {command: probe, exit: 0}}"),
    (("hypotheses", int, "predict"), "predict: {command: probe, exit: 0}"),
    (("parameters",), "parameters: {mtu: [1400, 1500]}"),
)


def shape(path: Sequence[str | int]) -> str:
    """For a value of another kind than is needed: what may stand there."""
    for pattern, example in _SHAPES:
        if len(pattern) == len(path) and all(
            isinstance(part, want) if isinstance(want, type) else part == want
            for part, want in zip(path, pattern, strict=True)
        ):
            return f". Write it as `{example}`"
    return ""


def comparison(value: object) -> str:
    """For text where a number is needed: `">= 1"`."""
    match = _COMPARISON.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return ""
    operator = OPERATORS[match[1]]
    return f". Write {match[2]}" if operator == "equals" else f". Write {{{operator}: {match[2]}}}"


def key(name: str, known: Collection[str]) -> str:
    """For an unknown key: the sign of an operator (`{"==": 1}`), or the verb of another tool (`exec: ls`)."""
    word = name.strip()
    if OPERATORS.get(word) in known:
        return f" Write {OPERATORS[word]}:"
    if word in ("!=", "ne") and "equals" in known:
        return " Put the prediction under not: {...}, with equals:"
    if word in _TO_RUN and "run" in known:
        return " A command is run: LINE; what goes on beside the steps after it is start: LINE."
    return ""


def unquoted(line: str) -> str:
    """For a line that YAML does not take: text with ': ' in it is a mapping to YAML."""
    match = re.match(r"\s*(?:- )?([\w-]+): (.*: .*)", line)
    if match is None:
        return ""
    return f": text with a colon in it needs quotes, as in `{match[1]}: '{match[2].strip()[:60]}'`"


def display_filter(expression: str) -> str:
    """For one of Wireshark's where a pcap filter is needed: the same as `fields`."""
    fields = []
    for part in _AND.split(expression):
        match = _DISPLAY.fullmatch(part.strip().strip("()"))
        if match is None:
            return ""
        operator = OPERATORS.get(match[2]) or _WORDS.get(match[2])
        value = match[3].strip()
        fields.append(f"{match[1]}: {value if operator == 'equals' else f'{{{operator}: {value}}}'}")
    return f". This is a display filter: write `fields: {{{', '.join(fields)}}}`"
