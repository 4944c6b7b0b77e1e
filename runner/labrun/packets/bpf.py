"""Classic BPF as a Python function: the sandbox compiles a filter, the host judges with it and needs no libpcap.

A program only jumps forward, so it becomes straight Python, made once and called for each packet. Instructions that
some jump leaps over stand behind `if t <= their place`, a jump sets `t`, and a jump to a `ret` is that `return`.
With usual filters next to nothing stands behind such an `if`.

The meaning is that of libpcap's interpreter (bpf_filter.c), which the tests hold it against: 32-bit arithmetic,
a load outside of what was captured returns 0, so does division by X = 0; a shift by X of 32 or more gives 0. The
kernel's ancillary loads (negative offsets) are outside of any packet here.

It refuses programs that the kernel or libpcap would: unknown instructions, jumps out of the program, an end that is
no `ret`, division by a constant 0, shifts by a constant of 32 or more, more than
MAX_INSTRUCTIONS. Source is generated from numbers alone.
Reference: Documentation/networking/filter.rst; McCanne and Jacobson, The BSD Packet Filter, 1993.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labrun.packets.libpcap import Instruction

Filter = Callable[[bytes, int], int]
"""(data, original length) -> how many bytes to keep; 0 is no match."""

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_SCRATCH = 16  # BPF_MEMWORDS
_WORD = 0xFFFFFFFF

# Codes, linux/bpf_common.h: class | size or operation | mode or source
_RET_K, _RET_A, _TAX, _TXA = 0x06, 0x16, 0x07, 0x87
_JA = 0x05
_ABSOLUTE = {0x20: 4, 0x28: 2, 0x30: 1}  # BPF_LD|BPF_ABS and a size: word, half word, byte
_INDIRECT = {0x40: 4, 0x48: 2, 0x50: 1}  # BPF_LD|BPF_IND
_MSH = 0xB1  # X = 4 * (byte & 15), the length of an IPv4 header
_SIMPLE = {
    0x00: "a = {k}",
    0x01: "x = {k}",
    0x80: "a = w",  # the packet's length on the wire
    0x81: "x = w",
    0x60: "a = m{k}",
    0x61: "x = m{k}",
    0x02: "m{k} = a",
    0x03: "m{k} = x",
    _TAX: "x = a",
    _TXA: "a = x",
    # BPF_ALU with the constant k
    0x04: f"a = a + {{k}} & {_WORD}",
    0x14: f"a = a - {{k}} & {_WORD}",
    0x24: f"a = a * {{k}} & {_WORD}",
    0x34: "a //= {k}",
    0x94: "a %= {k}",
    0x54: "a &= {k}",
    0x44: "a |= {k}",
    0xA4: "a ^= {k}",
    0x64: f"a = a << {{k}} & {_WORD}",
    0x74: "a >>= {k}",
    0x84: f"a = -a & {_WORD}",
    # and with X
    0x0C: f"a = a + x & {_WORD}",
    0x1C: f"a = a - x & {_WORD}",
    0x2C: f"a = a * x & {_WORD}",
    0x3C: "if x == 0: return 0\na //= x",
    0x9C: "if x == 0: return 0\na %= x",
    0x5C: "a &= x",
    0x4C: "a |= x",
    0xAC: "a ^= x",
    0x6C: f"a = a << x & {_WORD} if x < 32 else 0",
    0x7C: "a = a >> x if x < 32 else 0",
}
_SCRATCH_CODES = frozenset((0x60, 0x61, 0x02, 0x03))
_DIVISIONS = frozenset((0x34, 0x94))
_SHIFTS = frozenset((0x64, 0x74))
_COMPARISONS = {
    0x15: "a == {k}", 0x25: "a > {k}", 0x35: "a >= {k}", 0x45: "a & {k}",
    0x1D: "a == x", 0x2D: "a > x", 0x3D: "a >= x", 0x4D: "a & x",
}  # fmt: skip


def validate(program: Sequence[Instruction]) -> None:
    """ValueError that names the instruction when a program is not one that the kernel or libpcap would run."""
    count = len(program)
    if not 0 < count <= MAX_INSTRUCTIONS:
        raise ValueError(f"a BPF program has 1 to {MAX_INSTRUCTIONS} instructions, this one {count}")
    for place, (code, jt, jf, k) in enumerate(program):
        where = f"BPF instruction {place} (code {code:#x})"
        if not (0 <= jt <= 255 and 0 <= jf <= 255 and 0 <= k <= _WORD):
            raise ValueError(f"{where}: an operand is out of range")
        if code in _COMPARISONS:
            if place + 1 + max(jt, jf) >= count:
                raise ValueError(f"{where} jumps out of the program")
        elif code == _JA:
            if place + 1 + k >= count:
                raise ValueError(f"{where} jumps out of the program, or back")
        elif code in _SIMPLE:
            if code in _SCRATCH_CODES and k >= _SCRATCH:
                raise ValueError(f"{where}: no scratch word {k}")
            if code in _DIVISIONS and k == 0:
                raise ValueError(f"{where} divides by 0")
            if code in _SHIFTS and k >= 32:
                raise ValueError(f"{where} shifts by {k}, which means something else on every machine")
        elif code not in _ABSOLUTE and code not in _INDIRECT and code not in (_MSH, _RET_K, _RET_A):
            raise ValueError(f"{where} is unknown")
    if program[-1][0] not in (_RET_K, _RET_A):
        raise ValueError("a BPF program ends with a return")


def _load(places: list[str]) -> str:
    """A big-endian number from bytes of the packet."""
    parts = [f"d[{at}] << {8 * byte}" if byte else f"d[{at}]" for byte, at in enumerate(reversed(places))]
    return "a = " + " | ".join(parts)


def _statements(code: int, k: int, known: int) -> tuple[str, int]:
    """An instruction that is no jump as Python, and how many bytes the packet is known to have after it."""
    if code in _SIMPLE:
        return _SIMPLE[code].format(k=k), known
    if code in _ABSOLUTE or code == _MSH:
        size = _ABSOLUTE.get(code, 1)
        check = f"if n < {k + size}: return 0\n" if k + size > known else ""
        load = f"x = (d[{k}] & 15) << 2" if code == _MSH else _load([f"{k + byte}" for byte in range(size)])
        return check + load, max(known, k + size)
    if code in _INDIRECT:
        size = _INDIRECT[code]
        load = _load(["i", "i + 1", "i + 2", "i + 3"][:size])
        return f"i = x + {k}\nif i + {size} > n: return 0\n{load}", known
    return ("return a" if code == _RET_A else f"return {k}"), known


def _targets(place: int, instruction: Instruction) -> tuple[int, int]:
    code, jt, jf, k = instruction
    return (place + 1 + k,) * 2 if code == _JA else (place + 1 + jt, place + 1 + jf)


def source(program: Sequence[Instruction]) -> str:
    """The Python function `run(d, w)` for a valid program."""
    count = len(program)
    returns = {place for place, (code, *_rest) in enumerate(program) if code in (_RET_K, _RET_A)}
    jumps = {place for place, (code, *_rest) in enumerate(program) if code == _JA or code in _COMPARISONS}
    starts = {target for place in jumps for target in _targets(place, program[place])}

    def jump(target: int) -> str:
        code, _jt, _jf, k = program[target]
        return _statements(code, k, 0)[0] if target in returns else f"t = {target}"

    lines = ["def run(d, w):", " n = len(d)", " a = x = t = 0"]
    words = sorted({k for code, _jt, _jf, k in program if code in _SCRATCH_CODES})
    if words:
        lines.append(" " + " = ".join(f"m{k}" for k in words) + " = 0")
    farthest = 0  # how far a jump so far may have set t; what is before it must look
    known = 0  # bytes that the packet surely has, wherever the code is not behind an `if`
    place = empty = 0
    while place < count:
        guarded = farthest > place
        indent = " "
        if guarded:
            lines.append(f" if t <= {place}:")
            indent = "  "
            empty = len(lines)
        here = known
        first = True
        while place < count and (first or place not in starts):
            first = False
            code, _jt, _jf, k = program[place]
            if place in jumps:
                yes, no = _targets(place, program[place])
                place += 1
                if yes == no:
                    ways = {yes: ""}
                else:
                    condition = _COMPARISONS[code].format(k=k)
                    ways = {yes: f"if {condition}: ", no: f"if not ({condition}): "}
                for target, test in ways.items():
                    if target != place:  # else it just goes on
                        lines.append(f"{indent}{test}{jump(target)}")
                        farthest = max(farthest, 0 if target in returns else target)
                break
            text, here = _statements(code, k, here)
            lines += [indent + line for line in text.split("\n")]
            place += 1
            if code in (_RET_K, _RET_A):
                break
        if guarded and len(lines) == empty:
            lines.pop()
        if not guarded:
            known = here
    return "\n".join(lines) + "\n"


def translate(program: Sequence[Instruction]) -> Filter:
    """The program as a function of a packet's bytes and its original length. ValueError if it is not valid."""
    validate(program)
    namespace: dict[str, Filter] = {}
    exec(compile(source(program), "<bpf>", "exec"), {"len": len, "__builtins__": {}}, namespace)
    return namespace["run"]
