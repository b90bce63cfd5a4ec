"""What was forgotten: of a tuning run's revisions, or of any adapter, measured now where it was not before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from whetstone.errors import UsageError
from whetstone.models.hf import find_source
from whetstone.models.hf_load import load_weights
from whetstone.models.spec import parse_spec
from whetstone.storage.journal import JournalWriter
from whetstone.storage.revisions import Revision, find_revision, history, revisions, run_folder, runs
from whetstone.tokens.sources import load_tokenizer
from whetstone.tuning.tradeoff import Tradeoff, tradeoff

if TYPE_CHECKING:
    from pathlib import Path

    from whetstone.tuning.probe_result import ProbeResult

Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Probed:
    """What was found.

    Attributes:
        name: the run, or the spec.
        results: by step; of a spec, one under step 0.
        tradeoff: of a run; None for a spec.
    """

    name: str
    results: dict[int, ProbeResult]
    tradeoff: Tradeoff | None

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "name": self.name,
            "results": {str(step): result.to_json() for step, result in self.results.items()},
            "tradeoff": None if self.tradeoff is None else self.tradeoff.to_json(),
        }


def probe(target: str, told: Told = lambda what, done, of: None) -> Probed:
    """Probe a run (all its revisions), one revision of it, or a spec.

    What a run's journal has already is not measured again, and what is measured now is added to it.

    Args:
        target: "RUN", "RUN@best", "RUN@120", or an `hf:` spec with or without adapter.
        told: told what is being done, how much of it is done, and of how much.

    Raises:
        UsageError: there is no such run, revision or model, or no base to compare with.
        StorageError: the run is being trained now.
        ModelError: the model cannot be loaded, or computes no numbers.
    """
    if ":" in target:
        return _probe_spec(target, told)
    name, at, which = target.partition("@")
    wanted = [find_revision(name, which)] if at or name not in runs() else revisions(run_folder(name))
    if not wanted:
        raise UsageError(f"{name}: the run has no revision yet; let it run until its first validation")
    folder = run_folder(name)
    known = _probes(folder)
    missing = [revision for revision in wanted if revision.step not in known]
    if missing:
        with JournalWriter(folder / "journal.jsonl") as journal:
            for revision, result in _measured(folder, missing, told):
                journal.append({"kind": "probe", "step": revision.step, **result.to_json()})
        known = _probes(folder)
    found = {revision.step: known[revision.step] for revision in wanted}
    return Probed(target, found, tradeoff(history(folder)))


def _probes(folder: Path) -> dict[int, ProbeResult]:
    from whetstone.tuning.probe_result import ProbeResult

    return {int(line["step"]): ProbeResult.from_json(line) for line in history(folder) if line.get("kind") == "probe"}


def _measured(folder: Path, missing: list[Revision], told: Told) -> Iterator[tuple[Revision, ProbeResult]]:
    """Each revision's probe; the base is loaded and read once."""
    from whetstone.models.hf_adapter import apply_adapter
    from whetstone.tuning.probe import BASE_FILE, read_base, run_probe

    source = find_source(parse_spec(missing[0].base))
    told("reading the base", 0, len(missing))
    model = load_weights(source)
    tokenizer = load_tokenizer(str(source.folder))
    base = read_base(model, tokenizer, None, folder / BASE_FILE)
    for done, revision in enumerate(missing):
        told(f"probing step {revision.step}", done, len(missing))
        adapted = apply_adapter(model, revision.folder, source.name, merge=False)
        yield revision, run_probe(adapted, tokenizer, base)
        model = adapted.unload()


def _probe_spec(target: str, told: Told) -> Probed:
    from whetstone.models.hf_adapter import apply_adapter
    from whetstone.tuning.probe import read_base, run_probe

    spec = parse_spec(target)
    if spec.provider != "hf":
        raise UsageError(f"{target}: only hf: models can be probed, whose probabilities are all at hand")
    source = find_source(spec)
    told("reading the base", 0, 2)
    model = load_weights(replace(source, adapter=None))
    tokenizer = load_tokenizer(str(source.folder))
    base = read_base(model, tokenizer)
    told("probing", 1, 2)
    if source.adapter is not None:
        model = apply_adapter(model, source.adapter, source.name, merge=False)
    return Probed(target, {0: run_probe(model, tokenizer, base)}, None)
