"""Which guards this machine has for code that a model wrote, and the trial that proves them."""

from __future__ import annotations

import functools
import json
import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from whetstone.errors import ContainmentError
from whetstone.tools.contained_filter import machine_is_known
from whetstone.tools.contained_process import Plan, run_guarded
from whetstone.tools.contained_watch import Limits

_TRIAL = Path(__file__).with_name("contained_trial.py")
_TRIAL_LIMITS = Limits(seconds=60.0, memory_mb=256)
# The first has two locks on every door; the second is for where ordinary users may have no namespaces.
_PLANS = (Plan(), Plan(namespaces=False))


@dataclass(frozen=True, slots=True)
class Containment:
    """What keeps contained code in.

    Attributes:
        plan: the guards, as they are ordered; None where code cannot be run here.
        guards: the same, in words.
        reason: why code cannot be run here, in one sentence; "" where it can.
    """

    plan: Plan | None
    guards: tuple[str, ...]
    reason: str = ""

    def __str__(self) -> str:
        return self.reason or "code is kept in by " + ", ".join(self.guards)


@functools.lru_cache(maxsize=1)
def containment() -> Containment:
    """What keeps contained code in on this machine. The first call tries it out, in a tenth of a second or so."""
    if sys.platform != "linux":
        return _none("on Linux only; take a Linux machine, a container, or WSL 2")
    if not machine_is_known():
        return _none(f"on x86-64, aarch64 and riscv64 only, not on {platform.machine()}")
    troubles = []
    for plan in _PLANS:
        try:
            return Containment(plan, try_guards(plan))
        except ContainmentError as error:
            troubles.append(str(error))
    return _none(
        "only where the kernel gives namespaces to ordinary users, or has Landlock (Linux 5.13 and later); "
        f"with namespaces: {troubles[0]}; without: {troubles[1]}"
    )


def _none(where: str) -> Containment:
    return Containment(None, (), f"code that a model wrote is run {where}")


def try_guards(plan: Plan) -> tuple[str, ...]:
    """Put the guards of a plan up and try what they forbid; the guards in words.

    Raises:
        ContainmentError: one cannot be put up, or does not hold.
    """
    with tempfile.TemporaryDirectory(prefix="whet-outside-") as folder:
        secret = Path(folder, "secret")
        secret.write_text("x")
        secret.chmod(0o644)
        known = json.dumps({"folder": folder, "parent": os.getpid()}).encode()
        outcome = run_guarded(_TRIAL.read_text(), stdin=known, files={}, limits=_TRIAL_LIMITS, plan=plan)
    try:
        done = json.loads(outcome.stdout)
    except ValueError:
        words = outcome.stderr.decode(errors="replace").strip().splitlines()
        raise ContainmentError(
            f"the trial of the guards ended with {outcome.exit}: {words[-1] if words else 'no word'}"
        ) from None
    if done:
        raise ContainmentError(f"contained code could {', '.join(done)}")
    guards = ["a seccomp filter", "limits of the process"]
    if outcome.landlock:
        guards.append(f"Landlock (version {outcome.landlock})")
    if plan.namespaces:
        guards.append("namespaces with no network and a file tree of its own")
    return tuple(guards)
