"""The first half of a contained process: it shuts every door behind itself, then becomes the code that is to be run.

Run as a script by `contained_process.py`, with the standard library only: `python contained_warden.py ORDERS STATUS`,
the numbers of two open pipes. Its orders are JSON; on the other pipe it says what it has shut, or why it could not.
That pipe closes when the code takes its place, and only then.

The guards, in order: namespaces with a file tree of its own (where ordered), no capabilities, Landlock (where the
kernel has it), resource limits, a seccomp filter. All are inherited by what takes this process's place, and none can
be taken off again.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import struct
import sys
from collections.abc import Sequence
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 22, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_SECCOMP_MODE_FILTER = 2
_CAPSET = {"x86_64": 126}.get(os.uname().machine, 91)
_PIVOT_ROOT = {"x86_64": 155}.get(os.uname().machine, 41)
_CAPABILITIES = 64  # room for those to come; 41 are in use

_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 4096, 16384, 1 << 18
_KEPT = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
_MNT_DETACH = 2

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_MAKE_CHAR, _MAKE_SOCKET, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
_RIGHTS_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_RIGHTS = {
    1: 13,
    2: 14,
    3: 15,
    4: 15,
}  # how many of the rights on files a version of Landlock knows; 16 since version 5


class _Trouble(Exception):
    """A guard that was ordered and cannot be had here."""


def main() -> None:
    """Shut the doors as ordered, and become the code."""
    orders_fd, status_fd = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(status_fd, False)
    with os.fdopen(orders_fd, "rb") as pipe:
        orders: dict[str, Any] = json.load(pipe)
    try:
        said = _shut(orders)
        os.chdir(orders["work"])
        os.write(status_fd, json.dumps(said).encode())
        os.execve(orders["command"][0], orders["command"], orders["environment"])
    except (_Trouble, OSError, ValueError) as error:
        os.write(status_fd, b"\n" + json.dumps({"trouble": str(error)}).encode())
        os._exit(125)


def _shut(orders: dict[str, Any]) -> dict[str, Any]:
    """Put all guards up; what they are."""
    if orders["namespaces"]:
        _own_tree(orders)
    _drop_capabilities()
    _do("dying with its parent", _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != orders["parent"]:
        raise _Trouble("whoever asked has gone")
    _do("giving up new privileges", _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    version = _landlock(orders) if orders["landlock"] else 0
    if not version and not orders["namespaces"]:
        raise _Trouble("the kernel has no Landlock")
    for name, both in orders["limits"].items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        soft, most = both if hard == resource.RLIM_INFINITY else (min(one, hard) for one in both)
        resource.setrlimit(kind, (soft, most))
    _filter(base64.b64decode(orders["filter"]))
    return {"landlock": version, "namespaces": orders["namespaces"]}


def _do(what: str, result: int) -> int:
    """What a call of the C library gave; its failure as a sentence."""
    if result < 0:
        raise _Trouble(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


# A file tree of its own


def _own_tree(orders: dict[str, Any]) -> None:
    """Leave the network and the disk for new ones: no network at all, and a tree of what may be read, and a small disk.

    A user namespace lets everybody do this; where the kernel or its owner forbids that, it is trouble.
    """
    user, group = os.getuid(), os.getgid()
    spaces = _CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS
    _do("taking namespaces of its own", _LIBC.unshare(spaces))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    root, work = orders["root"], orders["work"]
    _mount("cutting its mounts off", None, "/", None, _MS_REC | _MS_PRIVATE)
    _mount("mounting a root", "tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for path in orders["readable"]:
        _show(path, root)
    for path in orders["devices"]:
        _show(path, root)
    _make_readonly(root)
    os.makedirs(root + work)
    room = f"size={orders['disk_bytes']},nr_inodes={orders['disk_files']},mode=700"
    _mount("mounting a disk", "tmpfs", root + work, "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, room)
    shutil.copytree(work, root + work, dirs_exist_ok=True, copy_function=shutil.copyfile)
    os.chdir(root)
    _do("changing its root", _LIBC.syscall(_PIVOT_ROOT, b".", b"."))
    _do("letting go of the old root", _LIBC.umount2(b".", _MNT_DETACH))
    os.chdir("/")
    shut = _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV
    _mount("closing its root", None, "/", None, shut)


def _show(path: str, root: str) -> None:
    """Let a file or folder of the machine appear at the same place under the new root; a link as a link."""
    place = root + path
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), place)
        return
    if os.path.isdir(path):
        os.makedirs(place, exist_ok=True)
    else:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o600))
    _mount(f"showing {path}", path, place, None, _MS_BIND | _MS_REC)


def _make_readonly(root: str) -> None:
    """Forbid writing to everything mounted under a root, to what was mounted inside it before as well."""
    with open("/proc/self/mountinfo", "rb") as file:
        mounts = [line.split() for line in file]
    for fields in mounts:
        place = os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), fields[4]))
        if not place.startswith(root + "/"):
            continue
        # What the machine's owner locked (say, nodev) has to be kept, or the call is refused.
        kept = sum(flag for name, flag in _KEPT.items() if name.encode() in fields[5].split(b","))
        flags = _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | kept
        _mount(f"making {place} read-only", None, place, None, flags)


def _mount(what: str, source: str | None, place: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [None if text is None else os.fsencode(text) for text in (source, place, kind)]
    more = None if data is None else data.encode()
    _do(what, _LIBC.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), more))


# Less and less that it may do


def _drop_capabilities() -> None:
    """Give up what an administrator may do. What this cannot drop, the filter forbids call by call."""
    for number in range(_CAPABILITIES):
        _LIBC.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    _LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = struct.pack("=Ii", 0x20080522, 0)
    _do("giving up capabilities", _LIBC.syscall(_CAPSET, header, bytes(24)))


def _landlock(orders: dict[str, Any]) -> int:
    """Forbid every path but those ordered; the version of Landlock, 0 where the kernel has none."""
    version = int(_LIBC.syscall(_LANDLOCK_CREATE, None, 0, 1))
    if version < 1:
        return 0
    rights = (1 << _RIGHTS.get(version, 16)) - 1
    network = 0b11 if version >= 4 else 0  # bind and connect
    scopes = 0b11 if version >= 6 else 0  # abstract sockets and signals
    rules = struct.pack("=QQQ", rights, network, scopes)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _do("asking for Landlock", _LIBC.syscall(_LANDLOCK_CREATE, rules, size, 0))
    own = rights & ~(_EXECUTE | _MAKE_CHAR | _MAKE_SOCKET | _MAKE_BLOCK)
    _allow(ruleset, orders["readable"], rights & (_EXECUTE | _READ_FILE | _READ_DIR))
    _allow(ruleset, orders["devices"], rights & (_READ_FILE | _WRITE_FILE))
    _allow(ruleset, [orders["work"]], own)
    _do("setting Landlock", _LIBC.syscall(_LANDLOCK_RESTRICT, ruleset, 0))
    os.close(ruleset)
    return version


def _allow(ruleset: int, paths: Sequence[str], rights: int) -> None:
    for path in paths:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
        given = rights if os.path.isdir(path) else rights & _RIGHTS_ON_FILES
        rule = struct.pack("=Qi", given, folder)
        _do(f"allowing {path}", _LIBC.syscall(_LANDLOCK_ADD, ruleset, 1, rule, 0))
        os.close(folder)


def _filter(program: bytes) -> None:
    """Let the kernel run a program over every call from here on."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    filled = Program(len(program) // 8, program)
    _do("setting a seccomp filter", _LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filled), 0, 0))


if __name__ == "__main__":
    main()
