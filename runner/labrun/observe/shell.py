"""What is known of commands without running them: the programs that a line for the shell calls, and how they complain.

A reader of lines, not a shell: what it cannot read has no programs, and then nothing is claimed about them.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import shlex
from collections.abc import Iterable, Iterator

# Exit statuses by which a program says that it did not try what it was asked for: its arguments made no sense, or it
# found no way to begin. From their manual pages (EXIT STATUS, RETURN VALUE) and from trying the lab image's versions.
DID_NOT_TRY: dict[str, frozenset[int]] = {
    name: frozenset(statuses)
    for names, statuses in (
        ("curl", (1, 2, 3, 4)),  # unsupported protocol, failed to initialise, malformed URL, not built in
        ("ping ping6", (2,)),  # "other error": bad arguments, unknown host, no route at all
        ("ip tc bridge ss", (255,)),  # iproute2: an object, a command or an option is unknown
        ("iptables ip6tables iptables-legacy iptables-nft ebtables arptables", (2,)),  # PARAMETER_PROBLEM
        ("grep egrep fgrep zgrep diff cmp sort", (2,)),  # 1 is an answer of grep and diff, 2 is trouble
        ("dig", (1, 8, 10)),  # usage error, batch file, internal error; 9, no reply, is an answer
        ("bash sh dash", (2,)),  # the shell does not understand its input
        ("timeout env nohup setsid nice stdbuf", (125,)),  # coreutils: the wrapper itself failed
        ("awk gawk mawk", (2,)),
        ("jq", (2, 3)),  # usage, or the program does not compile
        ("conntrack", (2,)),
        ("getopt", (2, 3)),
    )
    for name in names.split()
    for statuses in (statuses,)
}
# Exit statuses by which a program that did its work says no: nothing found, not equal, no reply, nobody listens. These
# are answers, not failures, from the same manual pages.
ANSWERS: dict[str, frozenset[int]] = {
    name: frozenset(statuses)
    for names, statuses in (
        ("grep egrep fgrep zgrep pgrep pidof diff cmp test [ [[ expr (( let read", (1,)),
        ("ping ping6 arping", (1,)),  # no reply at all
        ("nc ncat", (1,)),  # not connected
        (
            "curl",
            (5, 6, 7, 18, 22, 28, 35, 47, 52, 55, 56),
        ),  # no address, no connection, no time
        ("dig", (9,)),  # no reply from a server
    )
    for name in names.split()
}
SIGPIPE = 141  # 128 + 13: whoever read its output had enough, as `head` does

# What a probe prints when the kernel itself answered: it did try (errno(3)).
_PROBES = frozenset("ping ping6 nc ncat socat curl traceroute tracepath arping".split())  # noqa: SIM905
_ANSWERED = re.compile("|".join(os.strerror(code) for code in (
    errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EADDRNOTAVAIL, errno.EMSGSIZE,
    errno.EHOSTDOWN, errno.ENETDOWN)))  # fmt: skip

_COMPLAINTS = re.compile(
    r"(?:un(?:known|recogni[sz]ed)|invalid|illegal|bad) (?:option|argument:|command|switch|flag)"
    r"|is unknown, try|^usage:|^[\w.-]+: usage|try ['`].*(?:--help|-h)'|syntax error|parse error"
    r"|^Not enough information|is a garbage| is expected rather than |: argument \".*\" is wrong|^Cannot parse "
    r"|port number (?:invalid|too (?:large|small))|Temporary failure in name resolution|Name or service not known"
    r"|^(?:SyntaxError|IndentationError|NameError|ImportError|ModuleNotFoundError|AttributeError|TypeError): ",
    re.IGNORECASE | re.MULTILINE,
)
# What a program prints that did not do its work, in the words of the lab image's tools and of strerror(3).
_ERRORS = re.compile(
    r"^Error: |^RTNETLINK answers: |^Cannot find device|^Device \".*\" does not exist|^Object \".*\" is unknown"
    r"|: (?:cannot|can't|could not|couldn't|failed to|unable to) |: (?:No such (?:file or directory|device|process)|"
    r"Operation not permitted|Permission denied|Invalid argument|Is a directory|Not a directory)$"
    r"|^ip6?tables v[\d.]+ |^error: |: error: |^Traceback ",
    re.MULTILINE,
)
_ALWAYS = re.compile(
    r"(?:unknown|unrecognized|invalid|illegal) option| is unknown, try|Couldn't load (?:target|match) |Bad argument `"
    r"|^try ['`].*(?:--help|-h)'",
    re.IGNORECASE | re.MULTILINE,
)
_ASKED = re.compile(r"\$\?|\$\{\?\}|PIPESTATUS|[;\n]\s*(?:true|:)\s*$")
_NOT_FOUND = re.compile(
    r"^(?:ba|da)?sh: (?:(?:line )?\d+: )?(?P<a>.+): (?:command )?not found$"  # bash(1), dash(1)
    r"|^exec of \"(?P<b>.+)\" failed: No such file or directory$"  # ip netns exec
    r"|^(?:timeout|env|nohup|setsid|nice|stdbuf|xargs|nsenter|unshare|chroot): "
    r"(?:failed to (?:run command|execute) )?['‘]?(?P<c>[^'’:]+)['’]?: No such file or directory$",
    re.MULTILINE,
)
_NOT_ALLOWED = re.compile(r"(?:Operation not permitted|Permission denied)", re.IGNORECASE)
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=.*", re.DOTALL)
_NUMBER = re.compile(r"\d+(?:\.\d+)?[smhd]?")  # of seconds, or a niceness
_WORDS = frozenset(
    [
        "!",
        "$",
        "if",
        "then",
        "elif",
        "else",
        "while",
        "until",
        "do",
        "{",
        "(",
        "time",
        "exec",
        "command",
        "builtin",
        "sudo",
        "nohup",
        "setsid",
    ]
)
_ENDS = frozenset(("fi", "done", "esac", "}", ")"))
SHELLS = ("bash", "sh", "dash")
_MARKS = ";&|()<>\n"
_WITH_VALUE = frozenset(("-o", "+o", "-O", "+O", "--rcfile", "--init-file"))  # of bash(1), each with a word of its own
_TEXT_FOLLOWS = re.compile(r"-[a-z]*c[a-z]*")


def complaint(stderr: str, status: int) -> str | None:
    """The line in which a program says that it does not understand what it was asked for; None if none does."""
    pattern = _COMPLAINTS if status else _ALWAYS
    return next((line.strip() for line in stderr.splitlines() if pattern.search(line)), None)


def asks_how(line: str | None) -> bool:
    """Does the line look at how its commands ended (`...; echo rc=$?`), or say that it does not matter (`...; true`)?

    Then that they failed is its business.
    """
    return line is not None and _ASKED.search(line) is not None


def error_line(stderr: str) -> str | None:
    """The first line by which a program says that it failed."""
    return next((line.strip() for line in stderr.splitlines() if _ERRORS.search(line)), None)


def answered(program: str, stderr: str) -> bool:
    """Did the kernel refuse what the program sent, so that its complaint is the network's answer?"""
    return program in _PROBES and _ANSWERED.search(stderr) is not None


def not_found(stderr: str) -> str | None:
    """The command that a shell or a wrapper says it does not find."""
    match = _NOT_FOUND.search(stderr)
    return match and next(name for name in match.groups() if name is not None)


def not_allowed(stderr: str) -> str | None:
    """The line in which a program says that it may not look."""
    return next((line.strip() for line in stderr.splitlines() if _NOT_ALLOWED.search(line)), None)


def pipelines(line: str, background: bool = False) -> tuple[tuple[str, ...], ...]:
    """The programs that a line calls: of each pipeline, in order, the program of each part ("" where it has none).

    ``background``: only of those that a `&` puts there.
    """
    tokens = _words(line)
    return tuple(programs for programs, end in _pipelines(tokens) if end == "&" or not background)


def script_of(argv: tuple[str, ...], stdin: str | None) -> str | None:
    """The text that a shell is to run, `bash -c TEXT` or its input; None of another program, and of a script's file."""
    if not argv or argv[0].rpartition("/")[2] not in SHELLS:
        return None
    text, reads = _called(argv[1:])
    return stdin if reads else text


def hidden_shell(line: str) -> str | None:
    """A shell within the line that runs several commands, of which only it knows how they ended: its name."""
    words = _words(line)
    for place, word in enumerate(words):
        if word.rpartition("/")[2] in SHELLS:
            text, reads = _called(itertools.takewhile(lambda other: other.strip(_MARKS), words[place + 1 :]))
            if reads or (text is not None and several(text)):
                return word.rpartition("/")[2]
    return None


def _called(words: Iterable[str]) -> tuple[str | None, bool]:
    """Of the words after a shell's name: the TEXT of `-c`, and whether it reads what it runs from its input."""
    given, reads, rest = False, False, iter(words)
    for word in rest:
        if word in _WITH_VALUE:
            next(rest, None)
        elif word[:1] in ("-", "+"):
            given = given or _TEXT_FOLLOWS.fullmatch(word) is not None
            reads = reads or word == "-s"
        else:
            return (word, False) if given else (None, reads or word == "/dev/stdin")
    return None, not given


def several(text: str) -> bool:
    """Has a script more than one command, or a part that this cannot read?"""
    found = pipelines(text)
    return len(found) != 1 or len(found[0]) != 1


def _words(line: str) -> list[str]:
    """Nothing of a line that this cannot read."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=_MARKS)
    lexer.whitespace = " \t\r"
    lexer.commenters = "#"
    try:
        return list(lexer)
    except ValueError:
        return []


def _pipelines(tokens: list[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each with what ends it."""
    parts: list[list[str]] = [[]]
    for token in [*tokens, ";"]:
        mark = token.strip("()")  # of `$(a); b` the lexer makes one token of ");"
        if mark in ("|", "|&"):
            parts.append([])
        elif mark and not mark.strip(";&|\n"):
            found = tuple(_program(words) for words in parts)
            if any(found):
                yield found, mark
            parts = [[]]
        else:
            parts[-1].append(token)


def _program(words: list[str]) -> str:
    """The program of one part, without assignments, keywords and wrappers."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name = word.rpartition("/")[2]
        if word in _WORDS or ASSIGNMENT.fullmatch(word) or word in _ENDS:
            continue
        if name in ("timeout", "nice", "stdbuf", "env"):
            while rest and (rest[0].startswith("-") or ASSIGNMENT.fullmatch(rest[0]) or _NUMBER.fullmatch(rest[0])):
                rest.pop(0)
            continue
        if name == "ip" and rest[:2] == ["netns", "exec"] and len(rest) > 3:
            rest = rest[3:]
            continue
        return name
    return ""
