"""A program of its own: makes namespaces, a root file system in them, and the agent's process in that.

    python -I -S -c "...; import launcher; launcher.main()" NAME JOB

JOB is a dict of plain values, by marshal in hexadecimal; NAME is for people who look at `ps`.

The root file system is the agent's, and read-only; what a lab sees is made in there by the agent (agent/lab_root.py).

Three processes. The *outer* one stays in the host's namespaces: it writes the user mapping, puts the sandbox into its
cgroups, waits, and removes them. Its child is *init*, process 1 of new user, mount, pid, network, UTS and IPC
namespaces: when it goes, the kernel kills all in them. Init's child becomes the *agent*. Whoever started this may die
in any way: the kernel then tells the outer process (PR_SET_PDEATHSIG), whose end kills init likewise. stdin is the
agent's.

Standard library without `site`, since every millisecond here is one of every lab. It imports nothing of labrun, and of
the library only what is built in, ctypes aside: `json`, `typing`, `contextlib` and the enums of `signal` together take
longer than all the rest, and so does compiling it each time, as Python does with a program that is run by its path.
`man 7 user_namespaces`, `man 2 clone`, `man 2 pivot_root`, `man 2 mount_setattr`.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import ctypes
import marshal
import os
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

REFUSED = 70  # the exit status when no sandbox could be made; the last line of stderr says why
ENDED = 71  # when the sandbox was ended from outside
MARK = "labrun-launcher: "

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
ALL_NEW = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC
SYS_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220}
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}
SYS_MOUNT_SETATTR = 442  # the same on all, as every system call since 5.1
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 0x1, 0x2, 0x4, 0x8, 0x20
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18
MNT_DETACH, AT_RECURSIVE, AT_FDCWD = 2, 0x8000, -100
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
ENOSYS = 38

OWN = ("proc", "sys", "dev", "run", "tmp")  # folders that a sandbox has for itself

# Not CDLL: that lets go of Python's lock around the call, and the child of a clone must own it.
_libc = ctypes.PyDLL(None, use_errno=True)
_machine = os.uname().machine


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    result = _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    _check(result, f"mount {kind or source} on {target}")


def _read_only(target: str, below: int = AT_RECURSIVE) -> None:
    """The tree of mounts at ``target``, or with ``below`` 0 that one, cannot be written any more."""
    attributes = (ctypes.c_uint64 * 4)(MS_RDONLY, 0, 0, 0)  # struct mount_attr: set, clear, propagation, userns
    result = _libc.syscall(
        SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(target), below, attributes, ctypes.sizeof(attributes)
    )
    if result < 0 and ctypes.get_errno() == ENOSYS:  # before Linux 5.12: mount by mount, with the flags that it has
        for place in _mounts_below(target) if below else (target,):
            flags = os.statvfs(place).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
            _mount("", place, None, MS_REMOUNT | MS_BIND | MS_RDONLY | flags)
    else:
        _check(result, f"make {target} read-only")


def _mounts_below(target: str) -> list[str]:
    """The mount points at ``target`` and below (proc(5), mountinfo)."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        places = {line.split()[4] for line in file}
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        places = {place.replace(code, character) for place in places}
    return sorted(place for place in places if place == target or place.startswith(f"{target}/"))


def _die_with_parent(number: int, parent: int) -> None:
    _check(_libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0), "PR_SET_PDEATHSIG")
    if parent and os.getppid() != parent:
        os._exit(ENDED)  # it was gone before we could ask to be told


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


# --- the outer process ---


def outer(job: dict[str, Any]) -> int:
    """Start init, wait for its end or for ours to be wanted, and clean up. The agent's exit status."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD, signal.SIGINT})
    _die_with_parent(signal.SIGTERM, job["parent"])
    tun = _tun_for_all(job) if os.geteuid() == 0 else None
    go_read, go_write = os.pipe()
    trouble_read, trouble_write = os.pipe()
    cgroups: list[str] = []
    child = _check(_libc.syscall(SYS_CLONE[_machine], ALL_NEW | signal.SIGCHLD, 0, 0, 0, 0), "new namespaces")
    if child == 0:
        os.close(go_write)
        os.close(trouble_read)
        _init(job, go_read, trouble_write, tun)
    os.close(trouble_write)
    try:
        _map_ids(child, job["first_id"], job["ids"])
        for folder, settings in job["cgroups"]:
            os.mkdir(folder)
            cgroups.append(folder)
            for name, value in settings:
                _write(f"{folder}/{name}", value)
            _write(f"{folder}/cgroup.procs", str(child))
        os.write(go_write, b"g")
        quiet = os.open("/dev/null", os.O_RDWR)
        os.dup2(quiet, 0)
        os.dup2(quiet, 1)
        trouble = b""
        while part := os.read(trouble_read, 4096):  # ends when the agent's program has been executed
            trouble += part
        if trouble:
            raise OSError(trouble.decode(errors="replace"))
        return _await(child)
    finally:
        try:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # it is gone, and was waited for
        for folder in cgroups:
            _remove_cgroup(folder)


def _await(child: int) -> int:
    while True:
        number = signal.sigwait({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
        if number != signal.SIGCHLD:
            return ENDED
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            if os.WIFSIGNALED(status):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
                return 128 + os.WTERMSIG(status)
            return os.WEXITSTATUS(status)


def _map_ids(child: int, first: int, count: int) -> None:
    """Root in there is ``first`` out here. Without a capability only oneself can be mapped, and no groups set."""
    if os.geteuid() != 0:
        _write(f"/proc/{child}/setgroups", "deny")
    gid = first if os.geteuid() == 0 else os.getegid()
    _write(f"/proc/{child}/gid_map", f"0 {gid} {count}")
    _write(f"/proc/{child}/uid_map", f"0 {first} {count}")


def _remove_cgroup(folder: str) -> None:
    for _ in range(200):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.005)  # the last of its processes is on its way out
        else:
            return


def _tun_for_all(job: dict[str, Any]) -> str | None:
    """A /dev/net/tun that the mapped root may open: only real root can make device nodes. None if it cannot."""
    try:
        _check(_libc.unshare(CLONE_NEWNS), "a mount namespace")
        _mount("", "/", None, MS_REC | MS_PRIVATE)
        place = _staging(job)
        _mount("tun", place, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,mode=755")
        os.mknod(f"{place}/tun", 0o20666, os.makedev(10, 200))  # Documentation/admin-guide/devices.txt
        os.chmod(f"{place}/tun", 0o666)
    except OSError:
        return None
    return f"{place}/tun"


def _staging(job: dict[str, Any]) -> str:
    """A folder of the host that can be covered: nothing that the sandbox needs is below it."""
    needed = [path for path in (job["root"], *job["binds"]) if path]
    for place in ("/dev/shm", "/mnt", "/media", "/srv", "/opt"):
        if os.path.isdir(place) and not any(path == place or path.startswith(f"{place}/") for path in needed):
            return place
    raise OSError("none of /dev/shm, /mnt, /media, /srv and /opt can be covered")


# --- init, process 1 of the sandbox ---


def _init(job: dict[str, Any], go: int, trouble: int, tun: str | None) -> NoReturn:
    try:
        _die_with_parent(signal.SIGKILL, 0)
        if not os.read(go, 1):
            os._exit(ENDED)
        os.close(go)
        sources = _open_sources(job)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        # Becoming the mapped root resets both.
        _check(_libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "PR_SET_DUMPABLE")
        _die_with_parent(signal.SIGKILL, 0)
        _file_system(job, sources, tun)
        for fd in sources.values():
            os.close(fd)
        _host_name(job["hostname"])
        agent = os.fork()
        if agent == 0:
            _agent(job, trouble)
        os.close(trouble)
        quiet = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(quiet, fd)
        _reap(agent)
    except BaseException as error:  # whatever it is, the outer process tells it
        _tell(trouble, error)


def _tell(trouble: int, error: BaseException) -> NoReturn:
    os.write(trouble, (str(error.args[-1]) if error.args else type(error).__name__).encode()[:4000])
    os._exit(REFUSED)


def _reap(agent: int) -> NoReturn:
    """Orphans of labs end up here. When the agent is done, so is the sandbox."""
    while True:
        pid, status = os.wait()
        if pid == agent:
            os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _agent(job: dict[str, Any], trouble: int) -> NoReturn:
    try:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if job["rlimits"]:
            import resource

            for name, value in job["rlimits"]:
                resource.setrlimit(getattr(resource, name), (value, value))
        os.execve(job["command"][0], job["command"], job["environment"])
    except BaseException as error:
        _tell(trouble, OSError(f"cannot run {job['command'][0]}: {error}"))


def _open_sources(job: dict[str, Any]) -> dict[str, int]:
    """While we still may look where only the caller may: below a home folder."""
    flags = os.O_PATH | os.O_CLOEXEC
    return {path: os.open(path, flags) for path in (job["root"], *job["binds"]) if path}


def _file_system(job: dict[str, Any], sources: dict[str, int], tun: str | None) -> None:
    """A root of our own, read-only. Nothing of the host's can be reached from it but what was bound, read-only."""
    _mount("", "/", None, MS_REC | MS_PRIVATE)
    stage = "/tmp" if os.path.isdir("/tmp") and (tun is None or not tun.startswith("/tmp/")) else "/mnt"
    size = job["tmpfs_bytes"]
    _mount("labrun", stage, "tmpfs", MS_NOSUID | MS_NODEV, f"size={size},mode=755")
    root = f"{stage}/root"
    os.mkdir(root)
    os.umask(0o022)
    if job["root"]:
        _bind(sources[job["root"]], root)
        _read_only(root)
    else:
        _host_root(root, job, sources)
    _own_parts(root, size, tun)
    if not job["root"]:
        _host_binds(root, job, sources, below_own=True)
        _read_only(root, below=0)
    os.chdir(root)
    _check(_libc.syscall(SYS_PIVOT_ROOT[_machine], b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", MNT_DETACH), "leaving the host's root")
    os.chdir("/")
    for path, text in job["files"]:
        _put(path, text)


def _bind(fd: int, target: str) -> None:
    _mount(f"/proc/self/fd/{fd}", target, None, MS_BIND | MS_REC)


def _host_root(root: str, job: dict[str, Any], sources: dict[str, int]) -> None:
    """A tmpfs with the host's programs and libraries, read-only; nobody's home."""
    _mount("labrun", root, "tmpfs", MS_NOSUID | MS_NODEV, f"size={job['tmpfs_bytes']},mode=755")
    for path, target in job["links"]:
        os.symlink(target, root + path)
    for name in (*OWN, "root", "var", "var/tmp", "var/lib", "var/run"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    _host_binds(root, job, sources, below_own=False)


def _host_binds(root: str, job: dict[str, Any], sources: dict[str, int], below_own: bool) -> None:
    """``below_own``: those below a folder that the sandbox has its own of, such as a Python under /tmp."""
    for path in job["binds"]:
        if path.startswith(tuple(f"/{name}/" for name in OWN)) is not below_own:
            continue
        if stat.S_ISDIR(os.fstat(sources[path]).st_mode):  # by now we may not look there by name any more
            os.makedirs(root + path, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            _touch(root + path)
        _bind(sources[path], root + path)
        _read_only(root + path)


def _own_parts(root: str, size: int, tun: str | None) -> None:
    """/proc, /sys, /dev, /run and /tmp are the agent's own."""
    careful = MS_NOSUID | MS_NODEV | MS_NOEXEC
    _mount("proc", f"{root}/proc", "proc", careful)
    _mount("sysfs", f"{root}/sys", "sysfs", careful)
    _mount("run", f"{root}/run", "tmpfs", MS_NOSUID | MS_NODEV, f"size={size},mode=755")
    _mount("tmp", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, f"size={size},mode=1777")
    dev = f"{root}/dev"
    _mount("dev", dev, "tmpfs", MS_NOSUID, "size=64k,mode=755")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        _touch(f"{dev}/{name}")
        _mount(f"/dev/{name}", f"{dev}/{name}", None, MS_BIND)
    os.mkdir(f"{dev}/net")
    tun = tun or "/dev/net/tun"
    if os.path.exists(tun):
        _touch(f"{dev}/net/tun")
        _mount(tun, f"{dev}/net/tun", None, MS_BIND)


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def _put(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _host_name(name: str) -> None:
    encoded = name.encode()
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname")


def main() -> None:
    try:
        status = outer(marshal.loads(bytes.fromhex(sys.argv[2])))
    except (OSError, KeyError) as error:
        text = error.args[-1] if error.args else error
        print(f"{MARK}{text}", file=sys.stderr, flush=True)
        status = REFUSED
    os._exit(status)
