"""Code that a model wrote does no harm, on every set of guards that this machine has."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from whetstone.errors import ContainmentError, UsageError
from whetstone.tools.contained import Limits, Ran, containment, run_contained
from whetstone.tools.contained_guards import try_guards
from whetstone.tools.contained_process import Plan, run_guarded
from whetstone.tools.contained_watch import Outcome

PLANS = {
    "all guards": Plan(),
    "Landlock alone": Plan(namespaces=False),
    "namespaces alone": Plan(landlock=False),
}
SMALL = Limits(seconds=100, memory_mb=128, output_kb=64, disk_mb=4)
BRIEF = Limits(seconds=0.3, memory_mb=128)

# The end of a program that says which of its attempts succeeded.
TRY_ALL = """
for name, attempt in attempts.items():
    try:
        attempt()
    except OSError:
        continue
    print(name)
"""

pytestmark = pytest.mark.skipif(containment().plan is None, reason=containment().reason)

Run = Callable[..., Outcome]


@pytest.fixture(params=PLANS, scope="module")
def run(request: pytest.FixtureRequest) -> Run:
    """Runs code behind one set of guards after the other."""
    plan = PLANS[request.param]
    try:
        try_guards(plan)
    except ContainmentError as error:
        pytest.skip(f"this machine has not {request.param}: {error}")

    def running(code: str, limits: Limits = SMALL) -> Outcome:
        return run_guarded(code, files={}, limits=limits, plan=plan)

    return running


def says(ran: Ran) -> str:
    assert ran.fine, ran
    return ran.stdout.strip()


# What it is for


def test_code_runs_with_its_input_and_its_files() -> None:
    files = {"solution.py": "def double(x): return 2 * x", "data/rows.txt": b"\xc3\xa9"}
    code = "import solution\nprint(solution.double(int(input())), open('data/rows.txt').read())"
    assert says(run_contained(code, stdin="21\n", files=files)) == "42 é"


def test_what_ordinary_programs_do_works(run: Run) -> None:
    code = """
import asyncio, concurrent.futures, datetime, sqlite3, tempfile, zoneinfo
async def later():
    await asyncio.sleep(0.001)
    return 1
print(asyncio.run(later()))
with concurrent.futures.ThreadPoolExecutor(3) as pool:
    print(sum(pool.map(abs, [-1, -2])))
print(sqlite3.connect("own.db").execute("select 2").fetchone()[0])
with tempfile.NamedTemporaryFile("w+") as file:
    file.write("x")
open("/dev/null", "w").write("x")
"""
    outcome = run(code)
    assert (outcome.stdout, outcome.exit) == (b"1\n3\n2\n", 0), outcome.stderr


def test_equal_runs_print_the_same_and_name_no_place_on_the_disk() -> None:
    code = "print({str(n) for n in range(50)})\nraise ValueError('no such thing')"
    first, second = run_contained(code), run_contained(code)
    assert (first.stdout, first.stderr) == (second.stdout, second.stderr)
    assert 'File "program.py", line 2' in first.stderr
    assert first.problem == "ValueError: no such thing"
    assert (first.exit, first.killed_by, first.fine) == (1, None, False)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def f(:", "SyntaxError: invalid syntax"),
        ("import sys; sys.exit(3)", "it ended with exit code 3"),
        ("print('a')\0", "null bytes"),
        ("print('\ud800')", "SyntaxError"),
        ("import numpy", "No module named 'numpy'"),
        ("import os; os.abort()", "it was ended by SIGABRT"),
    ],
)
def test_code_that_fails_says_why_in_one_sentence(code: str, problem: str) -> None:
    assert problem in run_contained(code).problem


@pytest.mark.parametrize("name", ["../x.py", "/etc/x", "", "a/../../x", "a\0b"])
def test_files_stay_in_the_folder(name: str) -> None:
    with pytest.raises(UsageError, match="inside the folder"):
        run_contained("pass", files={name: "x"})


@pytest.mark.parametrize("limits", [{"seconds": 0}, {"seconds": float("nan")}, {"memory_mb": 8}, {"output_kb": 0}])
def test_limits_that_leave_nothing_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Limits(**limits)  # type: ignore[arg-type]


# Time, memory, output, disk


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time; time.sleep(100)",
        "import signal\nfor n in (1, 2, 15, 24): signal.signal(n, signal.SIG_IGN)\nwhile True: pass",
        "import os, time; os.close(1); os.close(2); time.sleep(100)",
        "import atexit, time; atexit.register(time.sleep, 100)",
    ],
    ids=["loops", "sleeps", "ignores signals", "closes its pipes", "will not end"],
)
def test_code_is_stopped_at_its_time(code: str) -> None:
    ran = run_contained(code, limits=BRIEF)
    assert (ran.killed_by, ran.problem) == ("time", "it was stopped after 0.3 s")


@pytest.mark.parametrize("code", ["bytearray(300 << 20)", "held = []\nwhile True: held.append(bytearray(10_000_000))"])
def test_memory_is_bounded(code: str) -> None:
    ran = run_contained(code, limits=SMALL)
    assert (ran.killed_by, ran.problem) == ("memory", "it needed more than 128 MB of memory")


def test_threads_are_bounded_by_the_memory() -> None:
    code = "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()"
    assert "can't start new thread" in run_contained(code, limits=SMALL).stderr


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_hundred_megabytes_of_output_are_cut(stream: str) -> None:
    ran = run_contained(f"import sys\nfor _ in range(100): sys.{stream}.write('x' * 1_000_000)", limits=SMALL)
    assert ran.killed_by == "output"
    assert len(getattr(ran, stream)) == 64 << 10
    assert ran.problem == "it was stopped after 64 KB of output"


def test_output_that_just_fits_is_whole() -> None:
    ran = run_contained("import sys; sys.stdout.write('x' * (64 << 10))", limits=SMALL)
    assert (len(ran.stdout), ran.killed_by) == (64 << 10, None)


@pytest.mark.parametrize(
    "code",
    [
        "open('f', 'wb').write(bytes(10_000_000))",
        "n = 0\nwhile True: n += 1; open(f'f{n}', 'wb').write(bytes(1_000_000))",
        "n = 0\nwhile True: n += 1; open(f'f{n}', 'wb').close()",
    ],
    ids=["one large file", "large files", "many files"],
)
def test_the_disk_is_bounded(run: Run, code: str) -> None:
    outcome = run(code)
    assert outcome.stopped == "disk" or b"Errno 2" in outcome.stderr.splitlines()[-1], outcome  # 27 and 28: no room
    assert outcome.exit != 0


def test_folders_deeper_than_any_path_are_bounded_and_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(namespaces=False)
    try:
        try_guards(plan)
    except ContainmentError as error:
        pytest.skip(f"on this machine every program has a disk of its own: {error}")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "import os, time\nfor n in range(1500):\n  os.mkdir('d' * 5); os.chdir('d' * 5)\ntime.sleep(600)"
    outcome = run_guarded(code, files={}, limits=SMALL, plan=plan)
    assert outcome.stopped == "disk"
    assert list(tmp_path.iterdir()) == []


# Nothing outside


def test_nothing_outside_is_read_or_changed(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "id_ed25519"
    secret.write_text("PRIVATE KEY")
    secret.chmod(0o644)
    code = (
        f"""
import fcntl, os
attempts = {{
    "read": lambda: open({str(secret)!r}).read(),
    "list": lambda: os.listdir({str(tmp_path)!r}),
    "write": lambda: open({str(secret)!r}, "w"),
    "append": lambda: open({str(secret)!r}, "a"),
    "make": lambda: open({str(tmp_path / "new")!r}, "w"),
    "folder": lambda: os.mkdir({str(tmp_path / "folder")!r}),
    "remove": lambda: os.remove({str(secret)!r}),
    "move": lambda: os.rename({str(secret)!r}, "mine"),
    "hard link": lambda: os.link({str(secret)!r}, "mine"),
    "through a link": lambda: (os.symlink({str(secret)!r}, "link"), open("link").read()),
    "truncate": lambda: os.truncate({str(secret)!r}, 0),
    "mode": lambda: os.chmod({str(secret)!r}, 0),
    "times": lambda: os.utime({str(secret)!r}),
    "python": lambda: open(os.__file__, "a"),
    "mode of python": lambda: os.chmod(os.__file__, 0o777),
    "flags of python": lambda: fcntl.ioctl(open(os.__file__), 0x40086602, bytes(8)),
    "passwords": lambda: open("/etc/passwd").read(),
    "the parent's keys": lambda: open(f"/proc/{{os.getppid()}}/environ").read(),
    "a device": lambda: os.mknod("disk", 0o60600, os.makedev(8, 0)),
    "another program": lambda: os.execv("/bin/sh", ["sh", "-c", "echo hello"]),
}}
"""
        + TRY_ALL
    )
    outcome = run(code)
    assert (outcome.stdout, outcome.stderr, outcome.exit) == (b"", b"", 0)
    assert secret.read_text() == "PRIVATE KEY"
    assert [path.name for path in tmp_path.iterdir()] == ["id_ed25519"]


def test_no_key_of_ours_is_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    told = says(run_contained("import os; print(sorted(os.environ))"))
    assert json.loads(told.replace("'", '"')) == ["HOME", "LANG", "PATH", "PYTHONHASHSEED", "TMPDIR"]


def test_no_socket_is_opened(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        port = listener.getsockname()[1]
        code = (
            f"""
import socket
attempts = {{
    "tcp": lambda: socket.create_connection(("127.0.0.1", {port})),
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "raw": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "local": lambda: socket.socket(socket.AF_UNIX),
    "datagram pair": lambda: socket.socketpair(type=socket.SOCK_DGRAM),
    "names": lambda: socket.getaddrinfo("example.org", 80),
}}
"""
            + TRY_ALL
        )
        outcome = run(code)
        assert (outcome.stdout, outcome.stderr, outcome.exit) == (b"", b"", 0)
        with pytest.raises(BlockingIOError):  # nobody knocked
            listener.accept()


def test_no_other_process_is_started(run: Run) -> None:
    code = (
        """
import multiprocessing, os, subprocess
attempts = {
    "fork": lambda: os.fork(),
    "a terminal's fork": lambda: os.forkpty(),
    "spawn": lambda: os.posix_spawn("/bin/echo", ["echo", "hello"], {}),
    "subprocess": lambda: subprocess.run(["/bin/echo", "hello"]),
    "python": lambda: subprocess.run([__import__("sys").executable, "-c", "print('hello')"]),
    "multiprocessing": lambda: multiprocessing.get_context("fork").Process(target=print).start(),
}
if os.system("echo hello") == 0:
    print("shell")
"""
        + TRY_ALL
    )
    outcome = run(code)
    assert (outcome.stdout, outcome.stderr, outcome.exit) == (b"", b"", 0)


def test_a_fork_bomb_is_none() -> None:
    assert "PermissionError" in run_contained("import os\nwhile True: os.fork()").problem


def test_nobody_else_is_signalled(run: Run) -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: received.append(number))
    try:
        code = "import os, signal\nfor target in (os.getppid(), 0, -1): os.kill(target, signal.SIGUSR1)"
        assert b"PermissionError" in run(code).stderr
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert received == []


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of the calls are those of x86-64")
def test_no_way_round_by_machine_calls(run: Run) -> None:
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
calls = {
    "socket": (41, 2, 1, 0), "fork": (57,), "clone": (56, 17, 0, 0, 0), "clone3": (435, 0, 0),
    "unshare": (272, 0x10000000), "setns": (308, 0, 0), "kill": (62, 1, 0), "ptrace": (101, 16, 1, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0), "io_uring": (425, 1, 0), "mount": (165, 0, b"/", 0, 0, 0),
    "socket by x32": (0x40000000 + 41, 2, 1, 0), "a call of tomorrow": (463, 0), "memfd": (319, b"x", 0),
    "outlive the parent": (157, 1, 0), "raise a limit": (302, 0, 7, bytes(16), 0), "bpf": (321, 0, 0, 0),
    "keys": (250, 0, -3, 0), "take the filter off": (317, 1, 0, 0), "chroot": (161, b"/"),
}
for name, (number, *arguments) in calls.items():
    if libc.syscall(number, *arguments) != -1:
        print(name)
"""
    outcome = run(code)
    assert (outcome.stdout, outcome.exit) == (b"", 0), outcome.stderr


@pytest.mark.skipif(platform.machine() != "x86_64", reason="writes code for x86-64")
def test_calls_by_another_processors_rules_end_the_program(run: Run) -> None:
    code = """
import ctypes, mmap
memory = mmap.mmap(-1, 4096, prot=7)
memory.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid in 32 bits); int 0x80; ret
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))())
"""
    outcome = run(code)
    assert (outcome.stdout, outcome.exit) == (b"", -signal.SIGSYS)


# The guards themselves


def test_what_holds_is_told() -> None:
    held = containment()
    assert str(held).startswith("code is kept in by a seccomp filter, limits of the process")
    assert held.plan is not None


def test_nothing_runs_without_a_guard(tmp_path: Path) -> None:
    with pytest.raises(ContainmentError, match="no Landlock"):
        run_guarded("print('ran')", files={}, limits=SMALL, plan=Plan(namespaces=False, landlock=False))


def test_the_trial_finds_what_is_open(tmp_path: Path) -> None:
    """Run without guards, the trial's program reports every hole: it does not merely print an empty list."""
    import whetstone.tools.contained_trial as trial

    (tmp_path / "secret").write_text("x")
    known = json.dumps({"folder": str(tmp_path), "parent": os.getpid()})
    ran = subprocess.run([sys.executable, trial.__file__], input=known, capture_output=True, text=True, check=True)
    open_doors = json.loads(ran.stdout)
    assert {"read a file outside its folder", "open a network socket", "start a process"} <= set(open_doors)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_it_dies_with_whoever_runs_it(tmp_path: Path) -> None:
    code = (
        "from whetstone.tools.contained import Limits, run_contained\n"
        "run_contained('import time; time.sleep(600)', limits=Limits(seconds=500))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        child = _until(lambda: next((pid for pid in _children(parent.pid) if b"program.py" in _command(pid)), None))
    finally:
        parent.kill()
        parent.wait()
    _until(lambda: b"program.py" not in _command(child) or None)


def _until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while (found := look()) is None:
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)
    return found


def _children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
