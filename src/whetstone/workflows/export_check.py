"""`whet tune export`: an export appears at its target only after it was shown to answer like the tuned model.

The same prompts go through the tuned model (base and adapter in transformers) and through the export in its own engine;
the most probable next token and its log-probability are compared, and so is what both make of conversations.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from whetstone.errors import StorageError, UsageError
from whetstone.models import LogitModel, ModelSpec, load_model
from whetstone.storage.files import storage_error
from whetstone.tokens.parity import Finding
from whetstone.tokens.sources import load_tokenizer
from whetstone.tuning.export import Built, Kind, build, check_request, write_card
from whetstone.tuning.export_source import ExportSource, find_source
from whetstone.tuning.gguf_precision import UNQUANTIZED, Precision, precision_named
from whetstone.tuning.gguf_write import write_model
from whetstone.workflows.export_compare import (
    Answers,
    Told,
    compare_answers,
    compare_conversations,
    composes,
    prompts_for,
    tells_the_date,
)

PROMPTS = 200
_SHOWN = 5  # prompts shown of those that are answered otherwise


@dataclass(frozen=True)
class ExportReport:
    """What became of an export.

    Attributes:
        source: what was exported.
        kind: as what.
        precision: of its weights; None for as they were.
        out: where it is; None where it was not exported.
        files: its files.
        base: the spec of the base.
        against: the spec that it was compared with.
        answers: how alike both answer.
        template: findings that tell the export's conversations from the tuned model's.
        conversations: how many comparisons of conversations held.
        faults: why it was not exported.
        remarks: what a user of it should know.
    """

    source: str
    kind: Kind
    precision: str | None
    out: str | None
    files: Sequence[str]
    base: str
    against: str
    answers: Answers
    template: Sequence[Finding]
    conversations: int
    faults: Sequence[str]
    remarks: Sequence[str] = field(default_factory=tuple)

    @property
    def good(self) -> bool:
        """Whether it was exported."""
        return not self.faults


def export_run(
    text: str,
    kind: str,
    out: Path,
    *,
    quantize: str | None = None,
    base: str | None = None,
    prompts: int = PROMPTS,
    told: Told | None = None,
) -> ExportReport:
    """Export a tuned model: written into a temporary folder, checked, and renamed when everything holds.

    Args:
        text: "RUN", "RUN@best", "RUN@last", "RUN@120", or the folder of a PEFT adapter.
        kind: peft, merged, gguf, gguf-lora or ollama.
        out: a folder that does not exist yet, or is empty; for GGUF also a file that ends in .gguf.
        quantize: precision of the weights.
        base: spec of the base, where the adapter does not say it.
        prompts: how many prompts both engines are asked.
        told: is told how far it is.

    Returns:
        The report. Where it is not good, there is nothing at `out`.

    Raises:
        UsageError: there is no such run, kind or precision, or there is something at `out` already.
        ModelError: this model cannot be exported so, or an engine cannot load it.
        StorageError: the disk is full.
    """
    known, precision = check_request(kind, quantize)
    if prompts < 1:
        raise UsageError(f"{prompts} prompts compare nothing; ask for 1 or more")
    file = _check_out(out, known)
    source = find_source(text, base)
    with _temporary(out) as folder:
        written = (lambda done, of: told("writing", done, of)) if told else None
        built = build(source, known, folder, precision, written)
        report = _checked(source, built, prompts, told)
        if not report.good:
            return report
        if not file:
            write_card(source, replace(built, remarks=report.remarks), _lines(report))
        _move(built.model if file else folder, out)
    files = [out.name] if file else sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    return replace(report, out=str(out), files=files)


def _check_out(out: Path, kind: Kind) -> bool:
    """Whether a single file is asked for. Refuses a target that is taken."""
    file = out.suffix.lower() == ".gguf"
    if file and kind not in ("gguf", "gguf-lora"):
        raise UsageError(f"{out}: --to {kind} writes several files; name a folder")
    if out.exists() and (file or not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already, and is not overwritten; name another, or remove it")
    return file


@contextlib.contextmanager
def _temporary(out: Path) -> Iterator[Path]:
    """A folder beside the target, on the same disk; removed unless it was renamed."""
    folder = out.with_name(f".{out.name[:80]}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        _clear_leftovers(out)
        folder.mkdir(parents=True)
        yield folder
    except OSError as error:
        raise storage_error(out, error) from error
    except Exception as error:
        if type(error).__name__ == "SafetensorError":  # how safetensors tells of a full disk
            raise StorageError(f"{out}: {error}; nothing was exported") from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clear_leftovers(out: Path) -> None:
    """Remove what killed exports to the same target left behind."""
    for path in out.parent.glob(f".{glob.escape(out.name[:80])}.*-*"):
        number = path.name.rpartition(".")[2].partition("-")[0]
        if number.isdigit() and not _runs(int(number)):
            shutil.rmtree(path, ignore_errors=True)


def _runs(pid: int) -> bool:
    if os.name != "posix":  # elsewhere asking would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _move(made: Path, out: Path) -> None:
    for path in [made] if made.is_file() else made.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    if out.is_dir():
        out.rmdir()  # it is empty
    os.replace(made, out)


def _checked(source: ExportSource, built: Built, prompts: int, told: Told | None) -> ExportReport:
    with contextlib.ExitStack() as opened:
        tuned = load_model(source.adapted)
        opened.callback(tuned.close)
        exported = load_model(_engine_spec(source, built, opened))
        opened.callback(exported.close)
        if not isinstance(tuned, LogitModel) or not isinstance(exported, LogitModel):
            raise UsageError(f"{source.adapted}: it gives no log-probabilities, so that an export cannot be checked")
        asked = prompts_for(tuned, bool(load_tokenizer(str(source.tokenizer)).template), prompts)
        answers = compare_answers(tuned, exported, asked, told)
        bad: list[Finding] = []
        held = 0
        if built.kind != "gguf-lora":  # the tokenizer is the base file's own
            engine = None if built.kind == "peft" else exported  # which reads the base's tokenizer
            bad, held = compare_conversations(source.tokenizer, built.model, engine)
    wanted = precision_named(built.precision or "f32")
    return ExportReport(
        source=source.name,
        kind=built.kind,
        precision=built.precision,
        out=None,
        files=(),
        base=str(source.base),
        against=str(source.adapted),
        answers=answers,
        template=bad,
        conversations=held,
        faults=list(_faults(answers, bad, wanted)),
        remarks=[*built.remarks, *(_of_llama_cpp(source) if built.model.suffix == ".gguf" else ())],
    )


def _of_llama_cpp(source: ExportSource) -> Iterator[str]:
    """What llama.cpp does otherwise with every model of the kind."""
    tokenizer = load_tokenizer(str(source.tokenizer))
    if composes(tokenizer):
        yield (
            "this model's tokenizer brings text to its composed Unicode form (NFC) first and llama.cpp does not: send "
            "composed text"
        )
    if tells_the_date(tokenizer):
        yield "the chat template tells the model a date, which llama.cpp sets to today's"


def _engine_spec(source: ExportSource, built: Built, opened: contextlib.ExitStack) -> ModelSpec:
    """The spec by which the export is loaded as its users will load it."""
    match built.kind:
        case "peft":
            return ModelSpec("hf", source.base.name, source.base.revision, {"adapter": str(built.model.resolve())})
        case "merged":
            return ModelSpec("hf", str(built.model.resolve()))
        case "gguf-lora":
            # The base's own file may be quantised, which would hide small faults of the adapter's.
            base = built.folder / ".base.gguf"
            opened.callback(base.unlink, missing_ok=True)
            write_model(source, None, base, precision_named("f32"))
            return ModelSpec("gguf", str(base.resolve()), "", {"lora": str(built.model.resolve())})
    return ModelSpec("gguf", str(built.model.resolve()))


def _faults(answers: Answers, template: Sequence[Finding], wanted: Precision) -> Iterator[str]:
    coarse = "" if wanted.name in UNQUANTIZED else f" ({wanted.name} may take too much of this model: try q8_0 or f16)"
    if answers.other_ids:
        yield (
            f"its tokenizer cuts {len(answers.other_ids)} of the prompts otherwise, for one: "
            f"{answers.other_ids[0][:80]!r}"
        )
    for finding in template[:_SHOWN]:
        yield f"{finding.path}, {finding.conversation}: {finding.detail}"
    if answers.decided < wanted.agreement:
        shown = "; ".join(
            f"after …{one.prompt[-40:]!r} {one.exported!r} instead of {one.tuned!r}"
            for one in answers.differing[:_SHOWN]
        )
        yield (
            f"the most probable next token is the same after {answers.decided:.1%} of {answers.prompts} prompts, near "
            f"ties included, and {wanted.agreement:.0%} are wanted{coarse}: {shown}"
        )
    if not answers.median <= wanted.difference:  # no number at all is none that is small enough
        yield (
            f"its log-probability changes by {answers.median:.3f} nats at the median, and at most "
            f"{wanted.difference:g} are wanted{coarse}"
        )


def _lines(report: ExportReport) -> list[str]:
    """The check in words, for the card."""
    answers = report.answers
    ties = f", and {answers.ties} near ties" if answers.ties else ""
    lines = [
        f"most probable next token the same as the tuned model's (transformers, base and adapter) after "
        f"{answers.agreement:.1%} of {answers.prompts} prompts{ties}",
        f"its log-probability changes by {answers.median:.4f} nats at the median, {answers.largest:.3f} at most",
    ]
    if report.conversations:
        lines.append(f"chat template and tokenizer make the same of conversations ({report.conversations} comparisons)")
    return lines
