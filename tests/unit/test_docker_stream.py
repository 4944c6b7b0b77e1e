"""What a container's attach stream says is passed on, and why there is no sandbox is said as it was."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Any

import docker
import pytest
from labrun.engines.base import EngineError
from labrun.engines.docker import LEAST, _Container, _host_config
from labrun.protocol.frames import Piece
from labrun.protocol.plan import Limits, Plan


class NoEvents:
    """A daemon that does not know more."""

    class api:
        @staticmethod
        def events(**asked: Any) -> list[Any]:
            return []


@pytest.mark.parametrize(
    ("log", "code", "says"),
    [
        (b"noise\nlabrun-launcher: unshare: No space left on device\n", "sandbox-refused", "No space left on device"),
        (b"x" * 2_000_000 + b"\nlabrun-launcher: mount on /proc: no\n", "sandbox-refused", "mount on /proc: no"),
        (b"Killed\n", "sandbox-died", "died before its agent was done"),
        (b"", "sandbox-died", "died before its agent was done"),
    ],
)
def test_a_container_that_ends_early_says_why(log: bytes, code: str, says: str) -> None:
    ours, theirs = socket.socketpair()

    def speak() -> None:
        for place in range(0, len(log), 32768):
            part = log[place : place + 32768]
            theirs.sendall(struct.pack(">BxxxL", 2, len(part)) + part)
        theirs.shutdown(socket.SHUT_WR)

    with ours, theirs:
        container = _Container(NoEvents, "id", ours)
        threading.Thread(target=speak, daemon=True).start()
        got: list[Piece] = []
        with pytest.raises(EngineError, match=says) as raised:
            got.extend(container.frames(Plan("lab", "experiment", (), (), limits=Limits()).sealed()))
    assert raised.value.code == code
    assert {frame.path for frame in got} <= {"agent.log"} and sum(len(frame.data) for frame in got) <= 1024**2


@pytest.mark.parametrize("isolation", ["least", "privileged"])
def test_what_least_asks_the_daemon_for(isolation: Any) -> None:
    with contextlib.closing(docker.DockerClient(base_url="tcp://127.0.0.1:1", version="1.41")) as client:
        asked = _host_config(client, isolation)
    assert asked["NetworkMode"] == "none" and "Binds" not in asked and asked["PidsLimit"] and asked["Memory"]
    assert asked.get("Privileged", False) is (isolation == "privileged")
    if isolation == "least":
        assert tuple(asked["CapAdd"]) == LEAST and "SYS_ADMIN" in LEAST
        assert set(asked["SecurityOpt"]) == {"seccomp=unconfined", "apparmor=unconfined"}
        assert asked["ReadonlyPaths"] == asked["MaskedPaths"] == []
