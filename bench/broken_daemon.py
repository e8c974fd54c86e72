"""The daemon with one of its guards broken on purpose: `python bench/broken_daemon.py NAME run --config F ...`.

A judge that calls everything good would pass an honest daemon; it has to call these bad. The product's code knows nothing of this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from drivers.base import DriverEvent, Grade, Proven, Stored
from drivers.oepl_radio import OeplRadio
from edge import pricing


def ignore_labels() -> None:
    """What labels may show bounds nothing: the lane charges the target at once."""

    def no_bounds(*_: object, **__: object) -> Iterator[pricing.Bound]:
        return iter(())

    _replace(pricing, "bounds", no_bounds)


def xfc_is_shown() -> None:
    """ "Transfer complete" counts as the picture on the panel."""
    honest = OeplRadio.events

    def events(self: OeplRadio) -> list[DriverEvent]:
        return list(_with_proof(honest(self)))

    _replace(OeplRadio, "events", events)


def _with_proof(events: Iterable[DriverEvent]) -> Iterator[DriverEvent]:
    for event in events:
        yield event
        if isinstance(event, Stored):
            yield Proven(event.radio_id, event.label_id, event.attempt_id, Grade.INFERRED, 0)


def _replace(owner: Any, name: str, value: Callable[..., object]) -> None:
    """Raises AttributeError where there is nothing of that name: a break that breaks nothing proves nothing."""
    getattr(owner, name)
    setattr(owner, name, value)


BREAKS: Final[dict[str, Callable[[], None]]] = {"ignore-labels": ignore_labels, "xfc-is-shown": xfc_is_shown}


def main(words: list[str]) -> int:
    if not words or words[0] not in BREAKS:
        sys.stderr.write(f"usage: broken_daemon.py {'|'.join(BREAKS)} run ...\n")
        return 2
    BREAKS[words[0]]()
    from edge.entry import main as shelfd  # after the break, so that nothing has taken the honest function already

    return shelfd(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
