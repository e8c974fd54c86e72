"""Tasks that may fail alone: radios, HQ, metrics. The one place that catches everything, logs it once and starts it again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

log = logging.getLogger(__name__)

BACKOFF_MIN_S: Final = 1.0
BACKOFF_MAX_S: Final = 60.0  # a unit that fails for good costs one log line a minute at DEBUG
DOUBLINGS_MAX: Final = 16  # beyond the longest pause; a float does not hold 2 to any power
STABLE_S: Final = 60.0  # after running this long a failure counts as the first


async def keep_running(name: str, start: Callable[[], Awaitable[None]]) -> None:
    """Run a unit for ever. First failure WARNING with its traceback, repeats DEBUG, recovery INFO. Never raises but on cancel."""
    failures = 0
    loop = asyncio.get_running_loop()
    while True:
        began_s = loop.time()
        watch = loop.call_later(STABLE_S, _recovered, name) if failures else None
        try:
            await start()
            log.log(logging.DEBUG if failures else logging.WARNING, "unit=%s ended, and is started again", name)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            level = logging.DEBUG if failures else logging.WARNING
            log.log(level, "unit=%s failed: %s: %s", name, type(error).__name__, error, exc_info=True)
        finally:
            if watch is not None:
                watch.cancel()
        failures = 1 if loop.time() - began_s >= STABLE_S else failures + 1
        await asyncio.sleep(min(BACKOFF_MIN_S * 2 ** min(failures - 1, DOUBLINGS_MAX), BACKOFF_MAX_S))


def _recovered(name: str) -> None:
    log.info("unit=%s runs again", name)
