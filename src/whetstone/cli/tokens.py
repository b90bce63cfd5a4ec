"""`whet tokens`: see what a model sees. `whet tokens "some text"` is short for `whet tokens show "some text"`."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from whetstone.cli import (
    tokens_chat,
    tokens_check,
    tokens_compare,
    tokens_corpus,
    tokens_encode,
    tokens_mask,
    tokens_roles,
    tokens_score,
    tokens_show,
    tokens_vocab,
)

_DEFAULT = "show"


class _ShowByDefault(TyperGroup):
    """A group in which anything but a command's name is the text to show.

    A text that equals a command's name goes after `--`, or after `show`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else None
        if first is not None and first not in self.commands and first not in ctx.help_option_names:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ShowByDefault,
    no_args_is_help=True,
    subcommand_metavar="TEXT | COMMAND [ARGS]...",
    help="See how texts are cut into tokens: whet tokens TEXT, or one of the commands below. "
    "A text that is a command's name goes after --.",
)
app.command("show")(tokens_show.show)
app.command("compare")(tokens_compare.compare)
app.command("vocab")(tokens_vocab.vocab)
app.command("corpus")(tokens_corpus.corpus)
app.command("chat")(tokens_chat.chat)
app.command("roles")(tokens_roles.roles)
app.command("check")(tokens_check.check)
app.command("mask")(tokens_mask.mask)
app.command("score")(tokens_score.score)
app.command("encode")(tokens_encode.encode)
app.command("decode")(tokens_encode.decode)
