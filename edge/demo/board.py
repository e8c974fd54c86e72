"""What the demo shows: a live table in a terminal, lines in a pipe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edge.cli_tables import say
from edge.demo.catalogue import money
from edge.demo.judge import Judge
from edge.demo.ledger import Change, Changes, Sales, Stage

RISE, CUT, GOOD, BAD, FAINT = "red", "green", "bold green", "bold white on red", "bright_black"
WIDTH_MAX: Final = 100
FRAMES_PER_S: Final = 4
LINE_EVERY_S: Final = 5.0
ROWS_RECENT: Final = 5

STAGE_NAMES: Final = {
    Stage.STORED: "stored",
    Stage.RENDERED: "rendered",
    Stage.ON_AIR: "on the air",
    Stage.CONFIRMED: "confirmed",
    Stage.IN_FORCE: "in force at the lane",
}


@dataclass(slots=True)
class Showing:
    """All that the screen is made of; the demo changes it as it runs. `seconds` None: until Ctrl-C."""

    changes: Changes
    sales: Sales
    judge: Judge
    labels: int
    lanes: int
    broker: str
    speed: float
    dwell_s: int
    seconds: float | None
    control: Path
    phase: str = "starting"
    labels_proven: int = 0
    labels_unsettled: int = 0
    outbox: int = 0
    held_items: int = 0
    given_away_minor: int = 0
    now_s: Callable[[], float] = time.monotonic
    _from_s: float | None = None
    _to_s: float | None = None

    @property
    def ready(self) -> bool:
        """The clock of the run runs, or ran."""
        return self._from_s is not None

    @property
    def elapsed_s(self) -> float:
        """Real seconds since the store was ready, until the end of the run."""
        if self._from_s is None:
            return 0.0
        return (self.now_s() if self._to_s is None else self._to_s) - self._from_s

    def started(self) -> None:
        """The store is ready: the clock of the run starts."""
        self._from_s = self.now_s()

    def stopped(self) -> None:
        """The run is over; a second time changes nothing."""
        if self._to_s is None:
            self._to_s = self.now_s()


@asynccontextmanager
async def show(now: Showing) -> AsyncIterator[None]:
    """Show it while the block runs: a table in a terminal, else lines."""
    console = Console(highlight=False)
    terminal = console.is_terminal and not console.is_dumb_terminal
    task = asyncio.create_task(_show_table(now, console) if terminal else _show_lines(now))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _show_table(now: Showing, console: Console) -> None:
    with Live(screen(now), console=console, auto_refresh=False) as live:
        try:
            while True:
                await asyncio.sleep(1 / FRAMES_PER_S)
                live.update(screen(now), refresh=True)
        finally:
            live.update(screen(now), refresh=True)  # the last figures stay on the screen


async def _show_lines(now: Showing) -> None:
    say(time_text(now))
    said, next_s = "", 0.0
    while True:
        if now.phase != said:
            said = now.phase
            say(line(now))
            next_s = now.now_s() + LINE_EVERY_S
        elif now.now_s() >= next_s:
            next_s += LINE_EVERY_S
            say(line(now))
        await asyncio.sleep(1 / FRAMES_PER_S)


def screen(now: Showing) -> RenderableType:
    """The whole picture, at most `WIDTH_MAX` wide and 24 lines high."""
    top = Table.grid(expand=True, padding=(0, 1, 0, 0))
    top.add_column(ratio=66)
    top.add_column(ratio=34)
    top.add_row(
        Panel(_stages(now), title="[bold]price changes[/]", title_align="left", box=ROUNDED, border_style=FAINT, padding=(0, 1)),
        Panel(_shop(now), title="[bold]the shop[/]", title_align="left", box=ROUNDED, border_style=FAINT, padding=(0, 1)),
    )
    recent = Panel(_recent(now), title="[bold]newest changes[/]", title_align="left", box=ROUNDED, border_style=FAINT, padding=(0, 1))
    notes = Text(f"{time_text(now)}\nLook inside: shelfd --socket {now.control} status", style=FAINT)
    return Constrain(Group(_headline(now), top, recent, Padding(notes, (0, 1))), WIDTH_MAX)


def line(now: Showing) -> str:
    """The same on one line, for a pipe or a log."""
    changes, sales = now.changes, now.sales
    if not now.ready:
        return f"{now.phase}: {now.labels_proven} of {now.labels} labels proven, {sales.recorded} sales"
    return (
        f"{now.elapsed_s:5.0f} s {now.phase}: sent {changes.sent()}, stored {changes.count(Stage.STORED)}, "
        f"rendered {changes.count(Stage.RENDERED)}, on the air {changes.count(Stage.ON_AIR)}, "
        f"confirmed {changes.count(Stage.CONFIRMED)}, in force {changes.count(Stage.IN_FORCE, (True,))} rises "
        f"{changes.count(Stage.IN_FORCE, (False,))} cuts | sales {sales.sent}, recorded {sales.recorded}, at HQ {sales.at_hq} | "
        f"overcharges {now.judge.overcharges} in {now.judge.judged} lines"
    )


def time_text(now: Showing) -> str:
    """How time works, said in every run."""
    return (
        f"Store time runs at {now.speed:g}x: label sleep, housekeeping, airtime, panel refresh, dwell. While the radio module waits "
        f"for the daemon, the world runs at 1x, so that a late daemon is late. The dwell is {now.dwell_s} s of store time: a rise "
        "binds that long after every label of the item has proven it, a cut at once. Overcharges are judged by the pictures on the "
        "panels."
    )


def _headline(now: Showing) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True, justify="right")
    done, total, clock = 1.0, 1.0, f"{now.elapsed_s:.0f} s, Ctrl-C ends"
    if not now.ready:
        done, total, clock = now.labels_proven, now.labels, f"{now.labels_proven}/{now.labels} labels"
    elif now.seconds is not None:
        done, total, clock = min(now.elapsed_s, now.seconds), now.seconds, f"{now.elapsed_s:.0f}/{now.seconds:g} s"
    bar = ProgressBar(total=max(total, 1e-9), completed=done, complete_style="cyan", finished_style="cyan")
    grid.add_row(Text.assemble((" shelfd demo ", "bold white on blue"), "  ", (now.phase, "bold")), bar, clock)
    return grid


def _stages(now: Showing) -> RenderableType:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style=FAINT, show_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("rises", justify="right")
    table.add_column("cuts", justify="right")
    table.add_column("all", justify="right")
    table.add_column("after*", justify="right", no_wrap=True)
    changes = now.changes
    table.add_row("sent by HQ", str(changes.sent((True,))), str(changes.sent((False,))), f"[bold]{changes.sent()}[/]", "")
    for stage, name in STAGE_NAMES.items():
        rises, cuts = changes.count(stage, (True,)), changes.count(stage, (False,))
        waits = [changes.median_wait_s(stage, rise=rise) for rise in (True, False)]
        after = _wait(waits[0]) if stage is not Stage.IN_FORCE else f"[{RISE}]{_wait(waits[0])}[/]/[{CUT}]{_wait(waits[1])}[/]"
        every = f"[{GOOD if changes.sent() and rises + cuts == changes.sent() else 'bold'}]{rises + cuts}[/]"
        table.add_row(name, f"[{RISE}]{rises}[/]", f"[{CUT}]{cuts}[/]", every, after)
    return Group(table, Text("* median in store time, of rises / of cuts", style=FAINT))


def _shop(now: Showing) -> Table:
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
    grid.add_column()
    grid.add_column(justify="right")
    sales, judge = now.sales, now.judge
    grid.add_row(f"sales, {now.lanes} lanes", str(sales.sent))
    grid.add_row("  recorded", str(sales.recorded))
    grid.add_row("  booked at HQ", f"[{GOOD if sales.at_hq == sales.recorded else 'bold'}]{sales.at_hq}[/]")
    grid.add_row("overcharges", Text(f" {judge.overcharges} ", BAD) if judge.overcharges else f"[{GOOD}]0[/]")
    grid.add_row(f"[{FAINT}]  lines judged[/]", f"[{FAINT}]{judge.judged}[/]")
    grid.add_row("guard holds", f"{now.held_items} items")
    grid.add_row("  given away", money(now.given_away_minor))
    grid.add_row(f"[{FAINT}]outbox to HQ[/]", f"[{FAINT}]{now.outbox}[/]")
    return grid


def _recent(now: Showing) -> RenderableType:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), show_header=False, show_edge=False)
    table.add_column(no_wrap=True, ratio=1)
    table.add_column(no_wrap=True, width=17)
    table.add_column(no_wrap=True, width=12)
    table.add_column(no_wrap=True, width=24)
    newest = list(now.changes.recent)[-ROWS_RECENT:]
    for change in reversed(newest):
        table.add_row(Text(change.name, overflow="ellipsis"), _step(change), _reached(change), _lane(change))
    for _ in range(ROWS_RECENT - len(newest)):
        table.add_row("")
    return table


def _step(change: Change) -> Text:
    before, after = change.price.before, change.price.after
    colour, arrow = (RISE, "▲") if change.is_rise else (CUT, "▼")
    return Text.assemble(f"{money(before.price_minor):>6} ", (f"{arrow} {money(after.price_minor):>6}", colour))


def _reached(change: Change) -> Text:
    stage = change.stage
    if stage is None:
        return Text("sent")
    if stage is Stage.CONFIRMED:
        return Text("on the label", style=GOOD)
    return Text(str(stage).replace("_", " "))


def _lane(change: Change) -> Text:
    if change.lane_price_minor is None:
        return Text("")
    if Stage.IN_FORCE in change.reached_ms:
        return Text.assemble("lane ", (money(change.lane_price_minor), GOOD))
    guard = "" if change.lane_guard is None else f" {change.lane_guard.replace('_', ' ')}"
    return Text.assemble("lane ", (money(change.lane_price_minor) + guard, "yellow"))


def _wait(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s" if seconds >= 1 else "<1 s"
