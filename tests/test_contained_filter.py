"""The filter of system calls, for every processor: run here as the kernel runs it, on calls that are made up."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from whetstone.tools.contained_filter import _METADATA, _REFUSED, filter_program

ALLOWED, REFUSED, ABSENT, KILLED = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3}
PID = 77

# what: (number on x86-64, on the others, arguments, verdict)
CALLS = {
    "read": (0, 63, (), ALLOWED),
    "openat": (257, 56, (), ALLOWED),
    "execve": (59, 221, (), ALLOWED),
    "socket": (41, 198, (2, 1), REFUSED),
    "io_uring_setup": (425, 425, (), REFUSED),
    "a thread": (56, 220, (0x3D0F00,), ALLOWED),
    "a process": (56, 220, (0x1200011,), REFUSED),
    "clone3": (435, 435, (), ABSENT),
    "a call of tomorrow": (470, 470, (), ABSENT),
    "a call by x32": (0x40000000, 0x40000000, (), ABSENT),
    "a pair of streams": (53, 199, (1, 1 | 0o2000000), ALLOWED),
    "a pair of datagrams": (53, 199, (1, 2), REFUSED),
    "a signal to itself": (234, 131, (PID, PID, 6), ALLOWED),
    "a signal to another": (234, 131, (PID + 1, PID + 1, 9), REFUSED),
    "reading a limit": (302, 261, (0, 7, 0, 0x7FFF1234), ALLOWED),
    "setting a limit": (302, 261, (0, 7, 0x7FFF1234, 0), REFUSED),
    "setting a limit from far up": (302, 261, (0, 7, 5 << 32, 0), REFUSED),
    "outliving its parent": (157, 167, (1, 0), REFUSED),
    "naming itself": (157, 167, (15, 0), ALLOWED),
}
# As above, with the verdict where the rest of the disk is read-only, and where it is not.
ON_FILES = {
    "fchmod": (91, 52, (), ALLOWED, REFUSED),
    "utimensat": (280, 88, (), ALLOWED, REFUSED),
    "a file's flags": (16, 29, (3, 0x40086602), ALLOWED, REFUSED),
    "a terminal's size": (16, 29, (3, 0x5413), ALLOWED, ALLOWED),
}


def verdict(program: bytes, number: int, architecture: int, arguments: tuple[int, ...] = ()) -> int:
    """What the filter says to a call; its rules are those of Linux' Documentation/networking/filter.rst."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments, *(0,) * (6 - len(arguments)))
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator = place = 0
    while True:
        code, if_true, if_false, value = instructions[place]
        place += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, value)[0]
            case 0x54:
                accumulator &= value
            case 0x15:
                place += if_true if accumulator == value else if_false
            case 0x25:
                place += if_true if accumulator > value else if_false
            case 0x45:
                place += if_true if accumulator & value else if_false
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")


@pytest.mark.parametrize("machine", MACHINES)
def test_each_call_gets_its_verdict(machine: str) -> None:
    column = 0 if machine == "x86_64" else 1
    for metadata in (True, False):
        program = filter_program(PID, metadata=metadata, machine=machine)
        wanted = {name: call for name, call in CALLS.items()}
        wanted |= {name: (*call[:3], call[3] if metadata else call[4]) for name, call in ON_FILES.items()}
        for name, call in wanted.items():
            assert verdict(program, call[column], MACHINES[machine], call[2]) == call[3], (name, metadata)
        assert verdict(program, 0, 0x40000003) == KILLED  # 32 bits on x86


@pytest.mark.parametrize(
    ("header", "column"),
    [("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", 0), ("/usr/include/asm-generic/unistd.h", 1)],
)
def test_the_numbers_are_the_kernels(header: str, column: int) -> None:
    if not Path(header).is_file():
        pytest.skip(f"the kernel's own list, {header}, is not installed")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text())
    numbers = {name: int(number) for name, number in found}
    for name, ours in (_REFUSED | _METADATA).items():
        if name in numbers or ours[column] is not None:
            assert ours[column] == numbers[name], name
