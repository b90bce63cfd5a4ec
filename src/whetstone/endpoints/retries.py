"""How long to wait before a failed request is sent again, and when not to."""

from __future__ import annotations

import random

from whetstone.endpoints.failures import Failure

LONGEST_DELAY = 120.0  # seconds; an endpoint that asks for a longer wait is given up at once


def delay_before_next(failure: Failure, attempt: int, retries: int, ever_answered: bool) -> float | None:
    """Seconds to wait before the next attempt; None when there is to be none.

    Args:
        failure: of the last attempt.
        attempt: its number, from 1.
        retries: how often a request that failed in passing is sent again.
        ever_answered: whether the endpoint has answered anything since it was first asked.
    """
    if not failure.passing or attempt > retries:
        return None
    if failure.unreachable and not ever_answered:
        return None  # it is not running, or its address is wrong: say so now instead of in a quarter of a minute
    if failure.retry_after is not None:
        # Spread a little, or all the streams that were turned away together come back together.
        wait = failure.retry_after * random.uniform(1, 1.1)
        return wait if wait <= LONGEST_DELAY else None
    return min(30.0, 0.5 * 2.0 ** (attempt - 1)) * random.uniform(0.75, 1)
