"""Prompts in nodes, for somebody who types: a shell with a terminal in each node that is asked for.

What is typed comes on stdin as lines of JSON: ``{"open": NODE, "number": N, "rows": R, "columns": C}`` (the node that
is typed in from now on; N is new where its terminal is), ``{"size": [R, C]}``, ``{"keys": TEXT}`` (a byte a character),
``{"end": true}``. What terminal N shows goes out as pieces of ``prompt/N``; an empty one of ``prompt/N.ended`` when its
shell has ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import struct
from typing import Any

from labrun.agent.processes import ENVIRONMENT
from labrun.agent.stage import Stage, StepFailed
from labrun.protocol.actions import Prompt

_TIOCSWINSZ = 0x5414  # asm-generic/ioctls.h
_READ = 64 * 1024
_MOST = 1024 * 1024  # bytes that a terminal may owe its shell; more are not taken, as a real one does


class _Terminal:
    """``ended``: readable when the shell has ended, whoever still has its terminal."""

    def __init__(self, number: int, ours: int, pid: int) -> None:
        self.number = number
        self.ours = ours
        self.pid = pid
        self.ended = os.pidfd_open(pid)
        self.owed = b""

    def size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.ours, _TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))

    def type(self, data: bytes) -> None:
        """As much as it takes now."""
        self.owed = (self.owed + data)[:_MOST]
        try:
            self.owed = self.owed[os.write(self.ours, self.owed) :] if self.owed else b""
        except BlockingIOError:
            return
        except OSError:
            self.owed = b""  # its shell has ended


def prompt(stage: Stage, action: Prompt) -> None:
    """Until whoever types has enough. Raises StepFailed where a node that is asked for is not there."""
    terminals: dict[str, _Terminal] = {}
    current: _Terminal | None = None
    unread = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stage.typed, selectors.EVENT_READ)
        while True:
            for terminal in terminals.values():
                if terminal.owed:
                    terminal.type(b"")
            waiting = any(terminal.owed for terminal in terminals.values())
            for key, _ in selector.select(0.02 if waiting else None):
                if isinstance(key.data, _Terminal):
                    terminal = key.data
                    if terminal not in terminals.values() or (_show(stage, terminal) and key.fd != terminal.ended):
                        continue
                    for fd in (terminal.ours, terminal.ended):
                        selector.unregister(fd)
                        os.close(fd)
                    os.waitpid(terminal.pid, 0)
                    stage.emitter.piece(f"prompt/{terminal.number}.ended", b"")
                    terminals = {name: one for name, one in terminals.items() if one is not terminal}
                    current = None if current is terminal else current
                    continue
                *lines, unread = (unread + os.read(stage.typed, _READ)).split(b"\n")
                for line in lines:
                    said: dict[str, Any] = json.loads(line)
                    if "end" in said:
                        for terminal in terminals.values():
                            os.close(terminal.ours)  # the shells get SIGHUP
                        return
                    if "open" in said:
                        name = said["open"]
                        if name not in terminals:
                            terminals[name] = _opened(stage, name, action, said["number"])
                            for fd in (terminals[name].ours, terminals[name].ended):
                                selector.register(fd, selectors.EVENT_READ, terminals[name])
                        current = terminals[name]
                        current.size(said["rows"], said["columns"])
                    elif current is not None and "size" in said:
                        current.size(*said["size"])
                    elif current is not None:
                        current.type(said["keys"].encode("latin-1"))


def _opened(stage: Stage, node: str, action: Prompt, number: int) -> _Terminal:
    values = {name: str(value) for name, value in stage.values.items()}
    environment = {**ENVIRONMENT, "TERM": action.terminal, "PS1": f"{node}:\\w# ", "HISTFILE": "", **values}
    ours, theirs = stage.nodes.lab.make_terminal()
    try:
        editing = () if action.terminal != "dumb" else ("--noediting",)  # then what comes is a script
        argv = ("bash", "--noprofile", "--norc", *editing, "-i")
        pid = stage.nodes.start(node, argv, environment, {0: theirs, 1: theirs, 2: theirs})
    except OSError as error:
        os.close(ours)
        raise StepFailed(f"no prompt in {node}: {error.strerror or error}") from error
    finally:
        os.close(theirs)
    os.set_blocking(ours, False)
    return _Terminal(number, ours, pid)


def _show(stage: Stage, terminal: _Terminal) -> bool:
    """Hand over all that is there; False when nobody has the other end any more."""
    try:
        while data := os.read(terminal.ours, _READ):
            stage.emitter.piece(f"prompt/{terminal.number}", data)
    except BlockingIOError:
        return True
    except OSError:  # EIO
        return False
    return False
