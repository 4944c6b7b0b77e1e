"""What a lab can try on mounts that are read-only, as a program for it: prints "got" or "kept", and the mount point."""

REMOUNT = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
MS_REMOUNT, MS_BIND, SYS_MOUNT_SETATTR = 0x20, 0x1000, 442
clear = (ctypes.c_uint64 * 4)(0, 1, 0, 0)
with open("/proc/self/mountinfo") as file:
    places = [line.split()[4] for line in file if line.split()[5].split(",")[0] == "ro"]
for place in places:
    name = place.encode()
    tries = [
        lambda: libc.mount(b"none", name, None, ctypes.c_ulong(MS_REMOUNT | MS_BIND), None),
        lambda: libc.syscall(SYS_MOUNT_SETATTR, -100, name, 0, clear, ctypes.sizeof(clear)),
        lambda: libc.umount2(name, 2),
    ]
    print("got" if any(attempt() == 0 for attempt in tries) else "kept", place)
"""
