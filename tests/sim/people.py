"""Staff at the shelf: take labels down, hang them up again, print and hang tickets, say what they read, bind labels to other items."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from edge import guard_report
from edge.model import ItemId, Place
from edge.proof import Claim
from edge.store import people
from edge.store.people import Retire, Who
from render.fields import LabelFields
from tests.sim.headquarters import ITEMS
from tests.sim.radios import Label, Shown, spelled

if TYPE_CHECKING:
    from tests.sim.world import World

TICKET = "ticket-1"
PERSON = Who("Anna", "sim")


class Staff:
    """Anna. Her words to the daemon are said again until they are heard."""

    def __init__(self, world: World) -> None:
        self.bound: list[tuple[str, tuple[ItemId, ...]]] = []  # what she bound, in this order
        self._world = world

    def act(self, label: Label) -> None:
        roll = self._world.dice.random()
        if label.away:
            self.hang_up(label)
        elif roll < 0.25:
            self._take_down(label)
        elif label.label_id == TICKET and roll < 0.7:
            self.hang_ticket(label) if label.printed is not None and roll < 0.5 else self.print_ticket(label)
        else:
            self.look(label)

    def rebind(self) -> None:
        world = self._world
        label_id = world.dice.choice(list(world.labels))
        self._bind(label_id, () if world.dice.random() < 0.2 else (ItemId(world.dice.choice(ITEMS)),))

    def _bind(self, label_id: str, items: tuple[ItemId, ...]) -> None:
        world = self._world
        world.note("Anna", "binds label %s to %s", label_id[-1], items)
        self.bound.append((label_id, items))
        world.say(lambda store: store.bind(label_id, items, "shelf", Place(), actor="sim"))

    def bind_again(self, since: int) -> None:
        """An older copy of the file was put back: what she bound since, and what HQ was not told either, nobody but she knows."""
        for label_id, items in self.bound[since:]:
            if (label_id, items) not in self._world.hq.ever_bound:
                self._bind(label_id, items)

    def _decide(self, transaction: Callable[..., Any], label: Label, **more: Any) -> Any:
        """None where it is refused."""
        return self._world.say(
            lambda store: store.run(partial(transaction, stamp=store.stamp(), label_id=label.label_id, who=PERSON, **more))
        )

    def _take_down(self, label: Label) -> None:
        """Out of sight first, then the word."""
        world = self._world
        world.note("Anna", "takes down %s", label.name)
        world.leaves_sight(label)
        label.away = True
        dwell_ms = world.process.labels.dwell_ms()
        self._decide(people.retire, label, reason=world.dice.choice(list(Retire)), dwell_ms=dwell_ms)

    def hang_up(self, label: Label) -> None:
        """The word first, then back in sight: not before the answer says that no customer was told more than it shows."""
        world = self._world
        world.note("Anna", "hangs up %s", label.name)
        self._decide(people.restore, label)
        wait_ms = guard_report.quoted_above_ms(world.process.store.view, label.label_id, world.clock.now)
        wait_ms = max(wait_ms, self._table_ms())
        if world.calm:
            world.pass_time(wait_ms)
        elif wait_ms:
            world.note("Anna", "waits for %s ms", wait_ms)
            return
        label.away = False
        world.judge.panel_changed(label)

    def _table_ms(self) -> int:
        """How long tills' own tables may still say more."""
        return max(0, max(lane.table_until_ms for lane in self._world.lanes) - self._world.clock.link)

    def look(self, label: Label) -> None:
        """She reads a label, walks to a terminal, and says what was there. Who errs, errs on the low side."""
        world, shown = self._world, label.shown
        misread = 7 if world.dice.random() < 0.05 else 0
        if not world.calm:
            world.pass_time(world.dice.choice((0, 1_000, 3_000)))
        claims = [] if shown.item_id is None or shown.curve is None else [Claim(shown.item_id, shown.curve.points[0][1] - misread)]
        if world.dice.random() < 0.4 or not self._confirm(label, claims=claims):
            self._confirm(label, attempt_id=shown.attempt_id)

    def _confirm(self, label: Label, *, claims: Sequence[Claim] = (), attempt_id: int | None = None) -> bool:
        world = self._world
        world.note("Anna", "says that %s shows %s", label.name, attempt_id or claims)
        done = self._decide(people.confirm, label, claims=claims, attempt_id=attempt_id, dwell_ms=world.process.labels.dwell_ms())
        if done is not None and label.printed is not None and label.printed.attempt_id in done.gone:
            label.printed = None  # the answer says that it must not hang there any more
        return done is not None

    def print_ticket(self, label: Label) -> None:
        """The newest one; one that was in hand is thrown away."""
        world = self._world
        found = world.disk.db.execute(
            "SELECT attempt_id, fields FROM attempt WHERE label_id = ? AND fields <> '' ORDER BY attempt_id DESC LIMIT 1", (label.label_id,)
        ).fetchone()
        if found is not None and not world.process.store.view.labels[label.label_id].retired:
            label.printed = Shown.read(found[0], spelled(LabelFields.from_dict(json.loads(found[1])), found[0]))
            world.note("Anna", "prints %s", label.printed)

    def hang_ticket(self, label: Label) -> None:
        if label.printed is not None:
            self._world.put_on_panel(label, label.printed)
            label.printed = None
