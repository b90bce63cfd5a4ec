"""The tree of a conversation: paths, siblings, leaves. Pure functions on its turns, given in order of creation."""

from __future__ import annotations

from collections.abc import Sequence

from whetstone.errors import UsageError
from whetstone.types import Turn


def path_to(turns: Sequence[Turn], leaf: str | None) -> list[Turn]:
    """The turns from the first one to `leaf`; none for None.

    Raises:
        UsageError: there is no such turn.
    """
    by_id = {turn.id: turn for turn in turns}
    path: list[Turn] = []
    current = leaf
    while current is not None:
        turn = _turn(by_id, current)
        path.append(turn)
        current = turn.parent
    return path[::-1]


def siblings(turns: Sequence[Turn], turn: str) -> list[Turn]:
    """The turns that follow the same turn as `turn` does, itself included, in order of creation.

    Raises:
        UsageError: there is no such turn.
    """
    parent = _turn({one.id: one for one in turns}, turn).parent
    return [one for one in turns if one.parent == parent]


def latest_leaf(turns: Sequence[Turn], turn: str) -> Turn:
    """The turn created last among `turn` and everything below it that nothing follows.

    Raises:
        UsageError: there is no such turn.
    """
    by_id = {one.id: one for one in turns}
    below = {_turn(by_id, turn).id}
    # A turn is always created after the one it follows.
    for one in turns:
        if one.parent in below:
            below.add(one.id)
    followed = {one.parent for one in turns}
    return next(one for one in reversed(turns) if one.id in below and one.id not in followed)


def _turn(by_id: dict[str, Turn], turn: str) -> Turn:
    try:
        return by_id[turn]
    except KeyError:
        raise UsageError(f"There is no turn {turn!r} in this conversation") from None
