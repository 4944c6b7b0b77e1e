"""The lab's side of the sandbox, and the agent's line to it.

A lab's commands run in a pid namespace below the agent's: for them the agent has no pid, so they cannot kill it, trace
it, or take its open files. Their mount namespace has a root (see lab_root.py) and a /proc of its own. But in privileged
containers, they are in a user namespace below the agent's, too: then every mount that the agent's side made is locked
(mount_namespaces(7)), and root in there has no right over the agent or its namespaces.

Two processes are forked off first of all, before there are threads and large imports, which go on beside them. *Process
1* of the lab makes the root file system, joins the lab's namespaces and becomes `sleep infinity`: a program of the
lab's own, without environment, so /proc/1 shows nothing. The kernel gives it the lab's orphans, and kills the lab with
it. The *starter* has the lab's namespaces and still a pid that the lab cannot see: it makes the nodes' namespaces,
which so belong to the lab's user namespace, and starts the commands, which become the agent's own children
(CLONE_PARENT). It is small, so that a fork of it is fast.

A request is a line of words with descriptors; the answer is "ok" with words and descriptors, or an errno and a message.
"""

from __future__ import annotations

import errno
import functools
import json
import marshal
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from labrun.agent import namespaces as ns
from labrun.agent import seccomp
from labrun.agent.lab_root import BESIDE, LAB_FILES, enter_lab_root, make_tun_device

if TYPE_CHECKING:
    from labrun.protocol.actions import Machine

RUN_NETNS = Path("/run/netns")
REFUSED = 70  # the exit status when the kernel refuses the lab's namespaces
_TIMEOUT_S = 30.0
_MESSAGE, _FDS = 4096, 16
_JOINED = ("user", "mnt", "net", "uts", "ipc")  # first the one that gives the right to the others
_TIOCSCTTY = 0x540E  # asm-generic/ioctls.h
_PATH = ("/usr/bin", "/bin")


def begin(shape: str) -> LabSide:
    """The first thing that the agent does: from here on what labs are given is not what the agent has.

    ``shape``: a JSON object of what `LabSide` takes.
    """
    with refusing():
        seccomp.install()
        make_tun_device()
        BESIDE.mkdir()
        ns.give_up_mknod()
        return LabSide(**json.loads(shape))


@contextmanager
def refusing() -> Iterator[None]:
    """What the kernel refuses here ends the sandbox, and whoever wanted it is told so."""
    try:
        yield
    except OSError as error:
        print(f"labrun-launcher: {error.strerror or error}", file=sys.stderr, flush=True)
        os._exit(REFUSED)


class LabSide:
    """The agent's end of the line."""

    def __init__(
        self, nested: bool, binds: tuple[str, ...], machine: Machine | None = None, hostname: str = "lab"
    ) -> None:
        """``nested``: in a user namespace of its own. It gets ready while the caller goes on; see `ready`.

        ``machine``: it is the side of one node alone.
        """
        self._shape = (nested, binds)
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        starter = os.fork()
        if starter == 0:
            _starter(theirs, nested, functools.partial(enter_lab_root, binds, machine, hostname))
        theirs.close()
        self._line.settimeout(_TIMEOUT_S)
        self.home = "/"
        """Where commands start."""
        self.has_files = False
        """Whether the lab can be given files, once it is ready."""
        self._names = -1
        self._trouble: OSError | None = None
        self._getting_ready = threading.Thread(target=self._get_ready, args=(starter, nested), name="lab", daemon=True)
        self._getting_ready.start()

    def _get_ready(self, starter: int, nested: bool) -> None:
        try:
            if nested:
                self._answer()
                for kind in ("uid_map", "gid_map"):
                    own = [line.split() for line in Path(f"/proc/self/{kind}").read_text(encoding="ascii").splitlines()]
                    same = "".join(f"{first} {first} {count}\n" for first, _, count in own)
                    Path(f"/proc/{starter}/{kind}").write_text(same, encoding="ascii")
                self._line.send(b"mapped")
            words, (self._names,) = self._answer()
            self.has_files = words == "files"
        except OSError as error:
            self._trouble = error

    def machine(self, name: str, machine: Machine) -> LabSide:
        """A side for one node, with a root, processes and a user namespace of its own. It gets ready meanwhile.

        From the main thread alone, and before there are many others: it is a fork of the agent, as the lab's was.
        """
        made = LabSide(*self._shape, machine, name)
        made.home = self.home
        return made

    def end(self) -> None:
        """The starter ends, and with it all that is in this side."""
        self._line.close()

    def ready(self) -> None:
        """Wait until commands can be started. Raises OSError with what could not be made."""
        self._getting_ready.join()
        if self._trouble is not None:
            raise self._trouble

    def make_network(self) -> int:
        """A network namespace, bare as the kernel makes it."""
        return self._ask("network")[1][0]

    def name_network(self, name: str, network: int) -> None:
        """As `ip netns add` does. Raises FileExistsError if the name is taken."""
        self._ask(f"name {name}", network)

    def remove_name(self, name: str) -> None:
        self._ask(f"delete {name}")

    def make_view(self, name: str, network: int) -> tuple[int, int]:
        """Mount and UTS namespace with the /sys of a network namespace, and a host name."""
        mounts, names = self._ask(f"view {name}", network)[1]
        return mounts, names

    def open_name(self, name: str) -> int:
        """A network namespace to which a command gave this name. Raises FileNotFoundError."""
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=self._names)

    def make_terminal(self) -> tuple[int, int]:
        """A pseudoterminal of the lab's own /dev/pts: our end, and that of a command."""
        ours, theirs = self._ask("terminal")[1]
        return ours, theirs

    def start(self, argv: tuple[str, ...], environment: dict[str, str], files: dict[int, int],
              namespaces: tuple[int, int, int]) -> int:  # fmt: skip
        """A command, which is now our child: its pid. Raises OSError if it cannot be started.

        ``files``: its number for each of its open files -> our descriptor; ``namespaces``: network, UTS and mount.
        """
        trouble, theirs = os.pipe()
        job = os.memfd_create("job")
        try:
            with open(job, "wb", closefd=False) as file:
                marshal.dump((argv, environment, tuple(files), self.home), file)
            words, _ = self._ask("start", job, theirs, *namespaces, *files.values())
            os.close(theirs)
            theirs = -1
            pid = int(words)
            code = os.read(trouble, 16)  # it ends with exec
        finally:
            for fd in (trouble, job, *((theirs,) if theirs >= 0 else ())):
                os.close(fd)
        if code:
            os.waitpid(pid, 0)
            raise OSError(int(code), os.strerror(int(code)))
        return pid

    def _ask(self, request: str, *fds: int) -> tuple[str, list[int]]:
        try:
            socket.send_fds(self._line, [request.encode()], fds)
        except OSError as error:
            raise OSError(error.errno, "the lab's side of the sandbox is gone") from error
        return self._answer()

    def _answer(self) -> tuple[str, list[int]]:
        data, fds = _received(self._line)
        head, _, words = data.decode().partition(" ")
        if head == "ok":
            return words, fds
        raise OSError(int(head or errno.EPIPE), words or "the lab's side of the sandbox is gone")


def _received(line: socket.socket) -> tuple[bytes, list[int]]:
    """A message and its descriptors, closed at exec (recv_fds of Python 3.11 does not pass its flags on)."""
    data, fds, _flags, _address = socket.recv_fds(line, _MESSAGE, _FDS)
    for fd in fds:
        os.set_inheritable(fd, False)
    return data, fds


# --- the starter ---


def _starter(line: socket.socket, nested: bool, enter: Callable[[], None]) -> NoReturn:
    try:
        _be_alone(line.fileno())
        own = os.open("/proc/self/ns", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # the lab's /proc does not know us
        ns.unshare(ns.CLONE_NEWNS | ns.CLONE_NEWPID)
        ns.mount("", "/", None, ns.MS_REC | ns.MS_PRIVATE)
        talk, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            line.close()
            talk.close()
            _process_1(theirs, enter)
        theirs.close()
        _expect(talk, "built")
        if nested:
            ns.unshare(ns.CLONE_NEWUSER)
            line.send(b"ok")
            if line.recv(_MESSAGE) != b"mapped":
                os._exit(0)
            # Owned by the new user namespace: all mounts so far are locked, and one may come back to the others.
            ns.unshare(ns.CLONE_NEWNS | ns.CLONE_NEWNET | ns.CLONE_NEWUTS | ns.CLONE_NEWIPC)
        ns.prctl(ns.PR_SET_DUMPABLE, 0)  # what it starts shares its memory until exec
        # As `ip netns add` makes it, so that all nodes see the same names.
        RUN_NETNS.mkdir(parents=True, exist_ok=True)
        ns.mount(str(RUN_NETNS), str(RUN_NETNS), None, ns.MS_BIND | ns.MS_REC)
        ns.mount("", str(RUN_NETNS), None, ns.MS_SHARED | ns.MS_REC)
        joined = [ns.own(name, own) for name in _JOINED] if nested else []
        socket.send_fds(talk, [b"join"], joined)
        _expect(talk, "")
        for fd in joined:
            os.close(fd)
        talk.close()
        names = os.open(RUN_NETNS, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        socket.send_fds(line, [b"ok files" if os.path.ismount(LAB_FILES) else b"ok"], [names])
        os.close(names)
        while _request(line, own):
            pass
    except BaseException as error:  # noqa: BLE001  whatever it is, the agent tells it
        with suppress(OSError):
            line.send(_refusal(error))
    os._exit(0)


def _be_alone(line: int) -> None:
    """None of the agent's files stays open; this ends with the agent. Where memory runs out, labs go first."""
    ns.prctl(ns.PR_SET_PDEATHSIG, signal.SIGKILL)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")  # proc_pid_oom_score_adj(5)
    quiet = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(quiet, fd)
    os.closerange(3, line)
    os.closerange(line + 1, 4096)
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # as commands expect them
    os.umask(0o022)
    os.setsid()


def _expect(talk: socket.socket, word: str) -> None:
    """What process 1 says next; nothing when it has become another program. Raises OSError with its trouble."""
    said = talk.recv(_MESSAGE).decode()
    if said != word:
        code, _, words = said.partition(" ")
        raise OSError(int(code or errno.EPIPE), words or "process 1 of the lab is gone")


def _process_1(talk: socket.socket, enter: Callable[[], None]) -> NoReturn:
    """No signal of its own namespace ends it (pid_namespaces(7))."""
    try:
        ns.prctl(ns.PR_SET_DUMPABLE, 0)  # until it is another program, which only the lab's user namespace owns
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps (wait(2)); this outlives exec
        enter()
        talk.send(b"built")
        _data, fds = _received(talk)
        for fd in fds:
            ns.setns(fd, 0)
        ns.prctl(ns.PR_SET_PDEATHSIG, signal.SIGKILL)
        for folder in _PATH:
            with suppress(OSError):
                os.execve(f"{folder}/sleep", ("sleep", "infinity"), {})
        os.execve(sys.executable, (sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"), {})
    except BaseException as error:  # noqa: BLE001  whatever it is, the starter tells it
        talk.send(_refusal(error))
    os._exit(1)


def _refusal(error: BaseException) -> bytes:
    if isinstance(error, OSError):
        return f"{error.errno or errno.EIO} {error.strerror or error}".encode()[:_MESSAGE]
    return f"{errno.EIO} {type(error).__name__}: {error}".encode()[:_MESSAGE]


def _request(line: socket.socket, own: int) -> bool:
    """Answer one; False when nobody asks any more. ``own``: /proc/PID/ns of this process."""
    data, fds = _received(line)
    if not data:
        return False
    verb, _, name = data.decode().partition(" ")
    words, made = "", []
    try:
        if verb == "start":
            words = str(_start(fds, (line.fileno(), own)))
        elif verb == "network":
            made = [_network(own)]
        elif verb == "terminal":
            made = list(os.openpty())
        elif verb == "name":
            _name(name, fds[0], own)
        elif verb == "view":
            made = _view(name, fds[0], own)
        else:
            ns.unmount(str(RUN_NETNS / name))
            (RUN_NETNS / name).unlink()
        socket.send_fds(line, [f"ok {words}".encode()], made)
    except OSError as error:
        line.send(_refusal(error))
    for fd in (*fds, *made):
        os.close(fd)
    return True


def _start(fds: list[int], ours: tuple[int, int]) -> int:
    """``ours``: what only the starter may have."""
    pid = ns.clone(ns.CLONE_PARENT)
    if pid:
        return pid
    for fd in ours:
        os.close(fd)
    job, trouble, network, names, mounts, *files = fds
    try:
        os.setsid()
        ns.setns(network, ns.CLONE_NEWNET)
        ns.setns(names, ns.CLONE_NEWUTS)
        ns.setns(mounts, ns.CLONE_NEWNS)
        os.lseek(job, 0, os.SEEK_SET)
        with open(job, "rb", closefd=False) as file:
            argv, environment, numbers, home = marshal.load(file)
        os.chdir(home)
        _place(dict(zip(numbers, files, strict=True)))
        if os.isatty(0):
            from fcntl import ioctl

            ioctl(0, _TIOCSCTTY, 0)  # Ctrl-C reaches it, and what it starts
        os.execvpe(argv[0], argv, environment)
    except BaseException as error:  # noqa: BLE001
        os.write(trouble, b"%d" % (getattr(error, "errno", None) or errno.EIO))
    os._exit(127)


def _place(files: dict[int, int]) -> None:
    """Each file gets its number. Descriptors that came are small, and close at exec; the others wanted are high."""
    for number, fd in sorted(files.items(), reverse=True):
        if number == fd:
            os.set_inheritable(fd, True)
        else:
            os.dup2(fd, number)


def _network(own: int) -> int:
    with ns.kept(("net", ns.CLONE_NEWNET), folder=own):
        ns.unshare(ns.CLONE_NEWNET)
        return ns.own("net", own)


def _name(name: str, network: int, own: int) -> None:
    place = RUN_NETNS / name
    place.touch(exist_ok=False)
    with ns.kept(("net", ns.CLONE_NEWNET), folder=own):
        ns.setns(network, ns.CLONE_NEWNET)
        os.fchdir(own)
        try:
            ns.mount("net", str(place), None, ns.MS_BIND)
        finally:
            os.chdir("/")


def _view(name: str, network: int, own: int) -> list[int]:
    with ns.kept(("net", ns.CLONE_NEWNET), ("mnt", ns.CLONE_NEWNS), ("uts", ns.CLONE_NEWUTS), folder=own):
        ns.setns(network, ns.CLONE_NEWNET)
        ns.unshare(ns.CLONE_NEWNS | ns.CLONE_NEWUTS)
        ns.mount("sysfs", "/sys", "sysfs", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
        socket.sethostname(name)
        return [ns.own("mnt", own), ns.own("uts", own)]
