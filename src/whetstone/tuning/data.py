"""From what a configuration names as data to rows of tokens, training and validation apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice

import numpy as np

from whetstone.datasets.balance import balanced_weights
from whetstone.datasets.duplicates import Keys, components, hashed, normalised
from whetstone.datasets.rejects import Reject, Rejects
from whetstone.datasets.split import Sizes, split_training
from whetstone.errors import DataError, UsageError
from whetstone.tokens.chat import RenderedChat
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.data_problem import is_problem, read_problem
from whetstone.tuning.encoding import Encoder
from whetstone.tuning.formats import LAYOUTS, Example, Layout, Talk, Texts, Unusable, recognise
from whetstone.tuning.problem_rows import ProblemRows
from whetstone.tuning.records import Record, has_split, read_records
from whetstone.tuning.rows import PackedRows, Progress, RowBuilder, TuneData, TuneRow

SHOWN = 5
_PIECE = 2_048
_NAMED = 10  # rows that a message names
_GROUP = "group"


def load_data(
    config: TuneConfig, tokenizer: Tokenizer, *, encoder_decoder: bool, progress: Progress | None = None
) -> TuneData:
    """The rows that a configuration names, in a model's tokens.

    Args:
        config: the data, its columns, and how much of a row is learned.
        tokenizer: the model's.
        encoder_decoder: whether the model has an encoder.
        progress: told how far it is.

    Raises:
        DataError: the data cannot be read, most rows cannot be used, or a row has nothing to learn.
        UsageError: what is asked for does not fit the data.
        MissingPackageError: the source needs a package that is not installed.
    """
    if not config.data:
        raise UsageError(
            "There are no data to train on: name a file with messages, prompt and completion, conversations, or "
            "instruction and output; a folder of whet data curate; or a table with its --text and --target columns"
        )
    encoder = Encoder(tokenizer, encoder_decoder, config.completion_only_loss, config.max_length)
    if is_problem(config):
        return _from_problem(config, encoder, progress)
    return _from_examples(config, encoder, progress)


def _from_problem(config: TuneConfig, encoder: Encoder, progress: Progress | None) -> TuneData:
    source = read_problem(config, progress)
    problem = source.problem
    if not len(problem.train):
        raise UsageError(f"{problem.name} has no training items; see test_data and test_size")
    maker = ProblemRows(problem, encoder, config)
    train, answers, bad = maker.rows(problem.train, "train", progress)
    validation, _, bad_too = maker.rows(problem.validation, "validation", progress)
    rejects = [*source.rejects, *bad, *bad_too]
    _refuse_most(problem.name, bad, len(problem.train))
    remarks = [*source.notes, *_cut_remarks(train, config)]
    if config.weights == "balance":
        train = train.weighted(balanced_weights(problem, answers))
        remarks.append("rows are weighted so that each price band, or each label, counts the same")
    if not len(validation):
        remarks.append("there are no validation items: the last revision counts as the best one")
    return TuneData(
        train,
        validation,
        _fingerprint(train, validation, repr(maker.form)),
        rejects,
        problem,
        maker.form,
        maker.grid,
        tuple(remarks),
        tuple(maker.shown(problem.train[:SHOWN])),
        config.data,
        source.layout,
        chats=encoder.renders and not (maker.form is not None and maker.form.form == "plain"),
    )


def _from_examples(config: TuneConfig, encoder: Encoder, progress: Progress | None) -> TuneData:
    for key in ("group", "kind", "unit", "test_data", "test_size"):
        if getattr(config, key) is not None:
            raise UsageError(
                f"{key} is for problems: a table with text and target columns. For one, name them (--text, --target)"
            )
    if config.weights != "none":
        raise UsageError("weights: balance is for problems that ask for a number or a label; leave it out")
    own = has_split(config.data, "validation")
    found = _read(config, encoder, "train" if own else None, progress)
    found.stop_where_nothing_is_learned()
    rows = found.rows.finish()
    _refuse_most(config.data, list(found.rejects), len(rows) + len(found.rejects))
    if not len(rows):
        raise DataError(f"{config.data}: no row can be trained on")
    rejects, remarks = list(found.rejects), found.remarks
    if own:
        held_out = _read(config, encoder, "validation", progress)
        held_out.stop_where_nothing_is_learned()
        train, validation = rows, held_out.rows.finish()
        rejects += held_out.rejects
    else:
        train, validation = _divided(rows, found, config)
    if not len(validation):
        remarks.append("there are no validation rows: the last revision counts as the best one")
    return TuneData(
        train,
        validation,
        _fingerprint(train, validation, ""),
        rejects,
        remarks=tuple(remarks),
        kept_texts=tuple(found.shown),
        source=config.data,
        layout=found.layout.name,
        chats=encoder.renders and found.conversations,
    )


@dataclass
class _Found:
    """What was read of a source.

    Attributes:
        layout: how it is written.
        rejects: rows that cannot be used.
        rows: the others.
        asked: hashes of what rows ask, a piece of the source each: rows that ask the same stay in one split.
        groups: for each row, its group, or "".
        shown: the first rows as they are learned.
        empty: rows with nothing to learn.
        conversations: whether any row was written by a chat template.
        remarks: sentences for the user.
    """

    source: str
    layout: Layout
    rejects: Rejects
    rows: RowBuilder = field(default_factory=RowBuilder)
    asked: list[Keys] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    shown: list[RenderedChat] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    conversations: bool = False
    remarks: list[str] = field(default_factory=list)

    def stop_where_nothing_is_learned(self) -> None:
        """
        Raises:
            DataError: a row has no answer.
        """
        if not self.empty:
            return
        named = ", ".join(self.empty[:_NAMED]) + (", …" if len(self.empty) > _NAMED else "")
        rows = "1 row" if len(self.empty) == 1 else f"{len(self.empty):,} rows"
        raise DataError(
            f"{self.source}: nothing would be learned from {rows} ({named}): there is no answer in them; take them "
            "out, or give them one"
        )


def _read(config: TuneConfig, encoder: Encoder, split: str | None, progress: Progress | None) -> _Found:
    """All rows of a source, or of one split, in tokens."""
    source = config.data
    rejects = Rejects(source)
    columns, records = read_records(source, rejects, split)
    layout = recognise(columns)
    if layout is None:
        known = "; ".join(", ".join(each.needs) for each in LAYOUTS)
        raise DataError(
            f"{source} has the columns {', '.join(columns[:40])}, and examples are recognised by {known}; for a table, "
            "name the columns with --text and --target"
        )
    found = _Found(source, layout, rejects)
    unread = [name for name in columns if name not in (*layout.needs, *layout.takes, _GROUP)]
    if unread:
        found.remarks.append(f"columns that are not read: {', '.join(unread[:20])}")
    if layout.name == "messages" and not encoder.renders:
        found.remarks.append(
            f"{encoder.tokenizer.name} has no chat template: of each conversation the last answer is learned, behind "
            "the texts before it with blank lines between"
        )
    done = 0
    while piece := list(islice(records, _PIECE)):
        if progress is not None:
            progress(f"{split or 'rows'} into tokens", done, 0)
        _take_in(found, piece, encoder)
        done += len(piece)
    return found


def _take_in(found: _Found, records: Sequence[Record], encoder: Encoder) -> None:
    """Add some rows to what was found."""
    examples: list[Example] = []
    kept: list[Record] = []
    asked: list[str] = []
    for record in records:
        row, line, cells = record
        try:
            example = found.layout.read(cells)
        except Unusable as reason:
            _set_aside(found, record, reason)
            continue
        if not _has_answer(example):
            found.empty.append(_place(row, line))
            continue
        examples.append(example)
        kept.append(record)
    for record, example, encoded in zip(kept, examples, encoder.encode(examples), strict=True):
        row, line, cells = record
        if isinstance(encoded, Unusable):
            _set_aside(found, record, encoded)
            continue
        if encoded.labels is None and not any(encoded.learned):
            found.empty.append(_place(row, line))
            continue
        where = f"{found.source}:{row if line is None else line}"
        found.rows.add(TuneRow(encoded.ids, encoded.learned, encoded.labels, where=where))
        asked.append(example.asked)
        found.groups.append(str(cells.get(_GROUP) or ""))
        found.conversations |= isinstance(example, Talk) and encoder.plainly(example) is None
        if len(found.shown) < SHOWN:
            found.shown.append(encoder.shown(example))
    found.asked.append(hashed(map(normalised, asked), b"text", len(asked)))


def _set_aside(found: _Found, record: Record, reason: Unusable) -> None:
    row, line, cells = record
    found.rejects.add(row, line, reason.field, str(reason), {name: str(cell)[:200] for name, cell in cells.items()})


def _has_answer(example: Example) -> bool:
    if isinstance(example, Texts):
        return bool(example.completion.strip())
    answers = [message for message in example.messages[example.learn_from :] if message["role"] == "assistant"]
    return any(str(message["content"] or "").strip() or message.get("tool_calls") for message in answers)


def _place(row: int, line: int | None) -> str:
    return f"row {row}" if line is None else f"line {line}"


def _divided(rows: PackedRows, found: _Found, config: TuneConfig) -> tuple[PackedRows, PackedRows]:
    """Training and validation rows, in the order of the source; rows that ask the same are kept together."""
    size = config.validation_size
    asked: Keys = np.concatenate(found.asked)
    groups = hashed(found.groups, b"group", len(rows))
    grouped = np.array([bool(group) for group in found.groups])
    component = components(asked, groups, grouped)
    contents = (asked + np.arange(len(rows), dtype=np.uint64)).astype(np.uint64)
    sizes = Sizes(validation=int(size) if size is not None and size == int(size) else size)
    split = split_training(np.arange(len(rows), dtype=np.int64), component, contents, sizes, config.seed)
    return rows.take(np.sort(split.train)), rows.take(np.sort(split.validation))


def _cut_remarks(rows: PackedRows, config: TuneConfig) -> list[str]:
    cut = int((rows.cut > 0).sum())
    if not cut:
        return []
    most = int(rows.cut.max())
    return [
        f"{cut:,} of {len(rows):,} texts were cut at their end to keep rows within max_length {config.max_length:,} "
        f"(at most {most:,} characters of one)"
    ]


def _refuse_most(source: str, bad: Sequence[Reject], total: int) -> None:
    """Stop when more than half of the rows are bad.

    Raises:
        DataError: with the first of them.
    """
    if 2 * len(bad) > total:
        raise DataError(f"{len(bad):,} of {total:,} rows of {source} cannot be used; the first: {bad[0].sentence}")


def _fingerprint(train: PackedRows, validation: PackedRows, form: str) -> str:
    whole = sha256(b"whetstone tuning rows 1\n" + form.encode())
    whole.update(train.digest())
    whole.update(validation.digest())
    return whole.hexdigest()


def reject_sentences(rejects: Sequence[Reject]) -> Iterator[str]:
    """Each rejected row in words."""
    for reject in rejects:
        yield reject.sentence if reject.row else f"{reject.source}: {reject.reason}"
