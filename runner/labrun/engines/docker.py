"""Docker: one container a plan, without network or mounts, with limits; gone when the runner is, however it ends.

The container's stdin is the lifeline: when the runner dies, the daemon closes it (StdinOnce), the agent ends, and
the daemon removes the container (AutoRemove). AutoRemove holds from the start of a container on: one whose runner was
killed between making and starting it names its maker, and the next run removes it, as `labrun clean` does.

Privileged is tried first; where the daemon cannot grant it, the capabilities that labs need are asked for instead,
which is recorded. Then a lab's commands are in a user namespace below the container's (agent/lab_side.py): they are the
same users, and have no right over what the container has.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from labrun.engines.base import EngineError, EngineInfo, Frame, Isolation, Keys, refusal
from labrun.engines.shipment import agent_command, parcel
from labrun.lease import expired, lease
from labrun.protocol.codec import ProtocolError
from labrun.protocol.frames import Piece, read_frames
from labrun.protocol.plan import NO_CONTENTS, Contents, Plan

LABEL = "labrun.run"
# Beyond Docker's default set: namespaces and mounts (SYS_ADMIN), interfaces and routes (NET_ADMIN), packet sockets.
LEAST = ("NET_ADMIN", "NET_RAW", "SYS_ADMIN")
_MEMORY = 1024**3
_PIDS = 1024
_TMPFS_BYTES = 512 * 1024**2
_GRACE_S = 15.0  # beyond the plan's own limit: after that, the agent is taken for stuck
_AGENT_LOG = "agent.log"
_LOG_LIMIT = 1024 * 1024


def connect(timeout_s: int = 60, host: str | None = None) -> Any:
    """A client for the daemon at ``host``, else that of DOCKER_HOST or the current context. Raises EngineError."""
    import docker
    from docker.errors import DockerException

    try:
        if host is not None:
            client = docker.DockerClient(base_url=host, timeout=timeout_s)
        else:
            client = docker.from_env(timeout=timeout_s, **_context())
        client.ping()
    except (DockerException, OSError, ValueError) as error:
        raise EngineError("engine-unreachable", f"no Docker engine answers: {_one_line(error)}") from error
    return client


def _context() -> dict[str, Any]:
    """What the docker command's current context names, unless DOCKER_HOST says otherwise."""
    if os.environ.get("DOCKER_HOST"):
        return {}
    from docker.context import ContextAPI
    from docker.errors import DockerException

    try:
        context = ContextAPI.get_current_context()
    except (DockerException, OSError, ValueError):
        return {}
    host = context.Host if context is not None and context.name != "default" else None
    return {"environment": {**os.environ, "DOCKER_HOST": host}} if host else {}


class DockerEngine:
    """Containers on one daemon. Enter it before use: that finds out which isolation is to be had."""

    def __init__(
        self, client: Any, image: str, image_id: str, isolation: Isolation, run_id: str, first: int = 1
    ) -> None:
        """``first``: the number of the first container of this run."""
        self._client = client
        self._image = image
        self._image_id = image_id
        self._isolation: Isolation = isolation
        self._note: str | None = None
        self._run_id = run_id
        self._numbers = itertools.count(first)
        self._spare: _Container | None = None
        self._lock = threading.Lock()
        self._version: dict[str, Any] = {}
        self._cancelled = False

    def __enter__(self) -> DockerEngine:
        """Start the first container ahead, which shows whether privileged is granted; the first plan gets it."""
        from docker.errors import DockerException

        try:
            self._version = self._client.version()
        except (DockerException, OSError) as error:
            raise EngineError("engine-unreachable", f"no Docker engine answers: {_one_line(error)}") from error
        with contextlib.suppress(DockerException, OSError):
            for old in left_over(self._client):
                discard(self._client, old.id)
        try:
            # In a thread: Ctrl-C then comes between two requests to the daemon, never within one whose answer is lost.
            with ThreadPoolExecutor(1, "first container") as pool:
                pool.submit(self._first).result()
        except BaseException:
            self.cancel()
            raise
        return self

    def _first(self) -> None:
        try:
            self._spare = self._start()
        except EngineError as error:
            if self._isolation != "privileged" or error.code != "sandbox-refused":
                raise
            self._isolation = "least"
            self._note = f"the daemon refused a privileged container ({error})"
            self._spare = self._start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.remove()
        if error is not None:
            self.cancel()

    @property
    def client(self) -> Any:
        """Of the daemon, a docker.DockerClient."""
        return self._client

    def sibling(self, image: str, image_id: str, first: int) -> DockerEngine:
        """An engine of the same run with another image. ``first``: the number of its first container."""
        return DockerEngine(self._client, image, image_id, self._isolation, self._run_id, first)

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(
            name=name_of(self._version),
            version=str(self._version.get("Version", "")),
            isolation=self._isolation,
            note=self._note,
            kernel=str(self._version.get("KernelVersion", "")) or None,
            image=self._image,
            image_id=self._image_id,
        )

    def expect(self, plans: int) -> None:
        """See `Engine.expect`. The daemon starts containers one after the other: more than one ahead wins nothing."""

    def cancel(self) -> None:
        """See `Engine.cancel`."""
        from docker.errors import DockerException

        self._cancelled = True
        with contextlib.suppress(DockerException, OSError):  # the daemon is away; its AutoRemove sees to it
            for container in containers(self._client, self._run_id):
                discard(self._client, container.id)

    @contextmanager
    def sandbox(
        self, plan: Plan, name: str, contents: Contents = NO_CONTENTS, keys: Keys | None = None
    ) -> Iterator[Iterator[Frame]]:
        """See `Engine.sandbox`."""
        with self._lock:
            container, self._spare = self._spare, None
        container = container or self._start()
        if self._cancelled:  # while it was being made
            container.remove()
            raise EngineError("interrupted", "interrupted before it started")
        try:
            container.rename(f"labrun-{self._run_id}-{name}")
            if keys is not None:
                keys.write = container.type
            yield container.frames(plan, contents)
        finally:
            container.remove()

    def _start(self) -> _Container:
        if self._cancelled:
            raise EngineError("interrupted", "interrupted before it started")
        name = f"labrun-{self._run_id}-{next(self._numbers)}"
        return _Container.start(self._client, self._image_id, name, self._run_id, self._isolation)


def _host_config(client: Any, isolation: Isolation) -> Any:
    options: dict[str, Any] = {
        "network_mode": "none",
        "auto_remove": True,
        "init": True,
        "mem_limit": _MEMORY,
        "memswap_limit": _MEMORY,
        "pids_limit": _PIDS,
        "log_config": {"Type": "none"},
        # What the agent keeps until it is shipped: not on the host's disk.
        "tmpfs": {"/tmp": f"size={_TMPFS_BYTES},mode=1777"},
    }
    if isolation == "privileged":
        return client.api.create_host_config(privileged=True, **options)
    config = client.api.create_host_config(
        cap_add=list(LEAST),
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        device_cgroup_rules=["c 10:200 rwm"],  # /dev/net/tun, which the agent may then make
        **options,
    )
    # The docker command's systempaths=unconfined: /proc/sys is to be written, in the lab's own namespaces.
    config["MaskedPaths"] = []
    config["ReadonlyPaths"] = []
    return config


class _Container:
    """A started container whose agent waits for a plan."""

    def __init__(self, client: Any, container_id: str, stream: Any) -> None:
        self._client = client
        self._id = container_id
        self._stream = stream
        self._socket = getattr(stream, "_sock", stream)  # docker-py hands out a SocketIO on Unix sockets
        self._started = time.time()
        self._log_left = _LOG_LIMIT
        self._tail = b""
        self._deadline = float("inf")

    @classmethod
    def start(cls, client: Any, image: str, name: str, run_id: str, isolation: Isolation) -> _Container:
        from docker.errors import APIError, DockerException, ImageNotFound

        api = client.api
        container_id = None
        try:
            made = api.create_container(
                image,
                command=list(agent_command(nested=isolation == "least")),
                name=name,
                labels={LABEL: run_id, **lease()},
                hostname="lab",
                stdin_open=True,
                detach=False,
                host_config=_host_config(client, isolation),
            )
            container_id = made["Id"]
            stream = api.attach_socket(container_id, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            api.start(container_id)
        except ImageNotFound as error:
            raise EngineError("image-missing", f"the lab image is gone: {_one_line(error)}") from error
        except APIError as error:
            discard(client, container_id)
            raise EngineError("sandbox-refused", _refusal(error.explanation or error)) from error
        except (DockerException, OSError) as error:
            discard(client, container_id)
            raise EngineError("engine-unreachable", f"the Docker engine went away: {_one_line(error)}") from error
        return cls(client, container_id, stream)

    def rename(self, name: str) -> None:
        from docker.errors import DockerException

        # Only for people who look at `docker ps`; a lab does not fail for its name.
        with contextlib.suppress(DockerException, OSError):
            self._client.api.rename(self._id, name)

    def frames(self, plan: Plan, contents: Contents = NO_CONTENTS) -> Iterator[Frame]:
        """Hand the plan over, and pass on what comes back, the agent's stderr as its log."""
        self._deadline = time.monotonic() + plan.limits.lab_timeout_s + _GRACE_S
        log: list[bytes] = []
        done = False
        try:
            sender = threading.Thread(target=self._send, args=(parcel(plan, contents),), name="parcel", daemon=True)
            sender.start()
            for frame in read_frames(self._stdout(log)):
                yield from self._logged(log)
                yield frame
                done = not isinstance(frame, Piece) and frame.KIND == "done"
            yield from self._logged(log)
        except ProtocolError as error:
            raise EngineError("sandbox-garbled", f"the sandbox's stream makes no sense: {error}") from error
        except OSError as error:
            raise EngineError("sandbox-died", f"the sandbox's stream broke off: {_one_line(error)}") from error
        if not done:
            reason = refusal(self._tail)
            if reason is not None:
                text = f"the kernel refused a sandbox in the container: {reason}. `labrun doctor` says more"
                raise EngineError("sandbox-refused", text)
            raise EngineError("sandbox-died", self._cause())

    def _logged(self, log: list[bytes]) -> Iterator[Piece]:
        while log:
            data = log.pop(0)
            self._tail = (self._tail + data)[-4096:]
            data = data[: self._log_left]
            self._log_left -= len(data)
            if data:
                yield Piece(_AGENT_LOG, data)

    def type(self, data: bytes) -> None:
        """After the plan was taken."""
        self._send(data)

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a sandbox that dies early is reported by the reading side
            self._socket.sendall(data)

    def _stdout(self, log: list[bytes]) -> Iterator[bytes]:
        """The attach stream taken apart: 1 stdout, 2 stderr; an 8-byte header each (Docker API, attach)."""
        while True:
            header = self._exactly(8)
            if header is None:
                return
            kind, size = struct.unpack(">BxxxL", header)
            data = self._exactly(size)
            if data is None:
                return
            if kind == 1:
                yield data
            else:
                log.append(data)

    def _exactly(self, size: int) -> bytes | None:
        parts: list[bytes] = []
        while size:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise EngineError("sandbox-stuck", "the sandbox did not end within its time and was removed")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(min(size, 1 << 20))
            except TimeoutError:
                continue
            if not data:
                return None
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def _cause(self) -> str:
        """Why it died, from the daemon's own events: by then the container is removed."""
        from docker.errors import DockerException

        words = "the container died before its agent was done"
        try:
            found = list(
                self._client.api.events(
                    since=int(self._started) - 1,
                    until=int(time.time()) + 1,
                    filters={"container": self._id, "event": ["die", "oom", "kill"]},
                    decode=True,
                )
            )
        except (DockerException, OSError):
            return words
        actions = {event.get("Action"): event.get("Actor", {}).get("Attributes", {}) for event in found}
        if "oom" in actions:
            return f"{words}: out of memory (the limit is {_MEMORY // 1024**2} MiB)"
        if "kill" in actions:
            return f"{words}: it was killed (signal {actions['kill'].get('signal', 'unknown')})"
        code = actions.get("die", {}).get("exitCode")
        return f"{words} (exit status {code})" if code else words

    def remove(self) -> None:
        """Whatever state it is in, it goes. Closing stdin ends it too; this is at once."""
        with contextlib.suppress(OSError):
            self._stream.close()
        with contextlib.suppress(OSError):
            self._socket.close()
        discard(self._client, self._id)


def discard(client: Any, container_id: str | None) -> None:
    """Remove a container, whatever state it is in, also one that is just going."""
    from docker.errors import APIError, DockerException

    if container_id is None:
        return
    try:
        client.api.remove_container(container_id, force=True)
    except APIError as error:
        if error.status_code not in (404, 409):  # gone already, or just going (AutoRemove)
            raise EngineError("engine-error", f"a container could not be removed: {_one_line(error)}") from error
    except (DockerException, OSError):
        return  # the daemon is away; its AutoRemove sees to it


def name_of(version: dict[str, Any]) -> str:
    """Podman says who it is among its components (`GET /version`)."""
    components = version.get("Components") or ()
    return "podman" if any("podman" in str(part.get("Name", "")).lower() for part in components) else "docker"


def containers(client: Any, run_id: str | None = None) -> tuple[Any, ...]:
    """Every labrun container on this daemon, running or not; of one run, or of all."""
    label = LABEL if run_id is None else f"{LABEL}={run_id}"
    return tuple(client.containers.list(all=True, filters={"label": label}, ignore_removed=True))


def left_over(client: Any) -> tuple[Any, ...]:
    """Those whose maker is gone, whatever state they are in. A live run's are left alone, started or not."""
    return tuple(
        one
        for one in containers(client)
        if expired(one.labels, running=one.status == "running", created=str(one.attrs.get("Created", "")))
    )


def _refusal(error: object) -> str:
    """The part of the daemon's chain of messages that says why, such as "unable to apply caps: ..."."""
    text = _one_line(error).removesuffix(": unknown")
    return text.rpartition("unable to start container process: ")[2]


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:400]
