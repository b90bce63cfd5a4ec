"""The system calls that contained code may not make, as a seccomp filter (a small program that the kernel runs).

Landlock and namespaces say which files and networks there are; this says what may be asked of the kernel at all: no
sockets, no further processes, no signals to others, no tracing, no mounts. It holds for every way of making a call,
ctypes and machine code included, and cannot be taken off again. What is refused gives PermissionError in Python.
"""

from __future__ import annotations

import errno
import platform
import struct

# name: (x86-64, the numbers that aarch64 and riscv64 share); None where the machine has no such call.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # further processes; threads come through `clone`, below
    "fork": (57, None),
    "vfork": (58, None),
    "execveat": (322, 281),
    "unshare": (272, 97),
    "setns": (308, 268),
    # the network, and local sockets with it; `socketpair` is below
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    # signals to other processes; `tgkill` is below
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    # the memory, limits and priorities of other processes, and one's own limits; `prlimit64` is below
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "setrlimit": (160, 164),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # calls made by a ring instead of one by one, which no filter sees
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # memory that no limit counts, and that others share
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semctl": (66, 191),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgctl": (71, 187),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # the kernel's own store of keys and passwords
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # which files there are
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "mknod": (133, None),
    "mknodat": (259, 33),
    # the machine itself
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "syslog": (103, 116),
    "acct": (163, 89),
    "personality": (135, 92),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "lookup_dcookie": (212, 18),
}

# Landlock leaves the owner, mode, times and attributes of a file alone, and its length before version 3. With mounts
# of our own the rest of the disk is read-only to these calls too, and they may be made.
_METADATA: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "truncate": (76, 45),
}

_CLONE, _CLONE3, _SOCKETPAIR = (56, 220), (435, 435), (53, 199)
_TGKILL, _PRLIMIT, _PRCTL, _IOCTL = (234, 131), (302, 261), (157, 167), (16, 29)

_LAST = 449
"""The newest call that anything here needs. Those after it (and the whole x32 set, whose numbers start at 2**30) are
answered as by a kernel that has none of them, so that a call of tomorrow is no way out."""

_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1), "riscv64": (0xC00000F3, 1)}

_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_CLONE_THREAD = 0x00010000
_SOCK_STREAM, _SOCK_KIND = 1, 0xF
_PR_SET_PDEATHSIG = 1
_FS_IOC_SETFLAGS, _FS_IOC_FSSETXATTR = 0x40086602, 0x401C5820  # attributes of a file that is open for reading


def machine_is_known() -> bool:
    """Whether a filter can be written for this machine's processor."""
    return platform.machine() in _MACHINES


def filter_program(pid: int, *, metadata: bool, machine: str | None = None) -> bytes:
    """The filter, as the array of `struct sock_filter` that prctl(PR_SET_SECCOMP) takes.

    Args:
        pid: of the process that it is for, which may send signals to itself.
        metadata: whether the modes, owners and times of files may be changed.
        machine: "x86_64", "aarch64" or "riscv64"; this one's by default.
    """
    architecture, column = _MACHINES[machine or platform.machine()]
    refuse, absent = _error(errno.EPERM), _error(errno.ENOSYS)

    def argument(index: int) -> tuple[int, int, int, int]:
        return _LOAD, 0, 0, _ARGUMENTS + 8 * index  # the lower half: all three processors are little-endian

    program = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 1, 0, architecture),
        _give(_KILL),  # a call by the rules of another processor (32 bits), with other numbers
        (_LOAD, 0, 0, _NUMBER),
        (_GREATER, 0, 1, _LAST),
        absent,
    ]

    def when(numbers: tuple[int | None, int | None], *then: tuple[int, int, int, int]) -> None:
        number = numbers[column]
        if number is not None:
            program.extend([(_EQUAL, 0, len(then), number), *then])

    for numbers in (_REFUSED if metadata else _REFUSED | _METADATA).values():
        when(numbers, refuse)
    when(_CLONE3, absent)  # its flags lie in memory, where no filter looks; the C library then takes `clone`
    when(_CLONE, argument(0), (_ANY_BIT, 1, 0, _CLONE_THREAD), refuse, _give(_ALLOW))
    # asyncio wakes itself through a pair of streams. A pair of datagram sockets could send to any socket with a path.
    when(
        _SOCKETPAIR,
        argument(1),
        (_AND, 0, 0, _SOCK_KIND),
        (_EQUAL, 1, 0, _SOCK_STREAM),
        refuse,
        _give(_ALLOW),
    )
    when(_TGKILL, argument(0), (_EQUAL, 1, 0, pid), refuse, _give(_ALLOW))
    # Limits may be read (no new value, in either half of the pointer), not set.
    upper = (_LOAD, 0, 0, _ARGUMENTS + 8 * 2 + 4)
    when(_PRLIMIT, argument(2), (_EQUAL, 0, 2, 0), upper, (_EQUAL, 1, 0, 0), refuse, _give(_ALLOW))
    when(_PRCTL, argument(0), (_EQUAL, 0, 1, _PR_SET_PDEATHSIG), refuse, _give(_ALLOW))
    if not metadata:
        when(
            _IOCTL,
            argument(1),
            (_EQUAL, 1, 0, _FS_IOC_SETFLAGS),
            (_EQUAL, 0, 1, _FS_IOC_FSSETXATTR),
            refuse,
            _give(_ALLOW),
        )
    program.append(_give(_ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _give(verdict: int) -> tuple[int, int, int, int]:
    return _RETURN, 0, 0, verdict


def _error(number: int) -> tuple[int, int, int, int]:
    return _give(0x00050000 | number)
