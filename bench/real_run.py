"""One run: real weeks of a store through the running daemon, with labels that lie and, if asked for, a daemon that is killed."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.real_books import book_problems, booked_right, item, price_batches, price_row, stock_difference
from bench.real_data import SPARE_UNITS, Basket, Change, StoreData, week_start
from bench.real_lanes import Journal, Till
from bench.real_lies import Liar
from bench.real_panels import Panels
from bench.real_probe import Prober, Transition, is_proven
from bench.real_watch import LOOK_S, Stuck, Watch
from drivers.mqtt import MqttAddress
from edge.demo.broker import RunningBroker
from edge.demo.children import ChildDied
from edge.demo.hq import MiniHq
from edge.demo.judge import Judge
from edge.demo.world import DaemonProcess, SimEvent, Simulator, StepRefused, StoreSettings, lane_socket, write_config
from edge.lane_client import DaemonUnreachable
from protocols.hq import Stream
from protocols.hq_events import Stage
from protocols.jsonrpc import RpcError

LANES: Final = ("lane-1", "lane-2", "lane-3")
PROBE_LANE: Final = "probe"
DWELL_MINUTES: Final = 2.0  # the product's default of two hours would only make the run longer
LABELS_MIN: Final = 300  # more than a module's table of 250 entries
LABELS_PER_MODULE: Final = 600
CHECK_IN_S: Final = 40.0  # between two of a label; more where that makes too many:
CHECK_INS_PER_S: Final = 900  # real; more than simulator and daemon get through on two cores
SENT_AHEAD_MS: Final = 600_000  # HQ sends a week's prices ten minutes before they are due
DUE_AHEAD_MS: Final = 4_000  # the clock is stepped to this long before the week begins
NEXT_CUSTOMER_S: Final = (0.02, 0.15)  # real, while prices change; a queue of customers afterwards
STUCK_NAMED_MAX: Final = 20
KILL_WAIT_S: Final = 1.0  # real: longest wait for a sale to be on its way
COMMIT_S: Final = 0.006  # real: about as long as a sale takes to be recorded


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said."""

    store: int
    weeks: int
    kill_every_s: float | None
    break_name: str | None
    speed: float
    seed: int


@dataclass(slots=True)
class Figures:
    """What the file will say, as far as it is known."""

    sent: int = 0
    applied: int = 0
    confirmed: int = 0
    sales_recorded: int = 0
    sales_at_hq: int = 0
    stock_difference_units: int = 0
    problems: list[str] = field(default_factory=list)


async def play(directory: Path, broker: RunningBroker, data: StoreData, options: Options, say: Callable[[str], None]) -> Run:
    """From the first process to the last. What went wrong is among the run's problems. Raises ChildDied when nothing could start."""
    labelled = data.labelled(LABELS_MIN)
    sim = await Simulator.start(
        directory,
        labels=len(labelled),
        modules=-(-len(labelled) // LABELS_PER_MODULE),
        rate=1.0,  # until labels are bound: none should fetch "unassigned" first
        seed=options.seed,
        start_wall=week_start(data.first_week).isoformat(),
        check_in_s=max(CHECK_IN_S, len(labelled) * options.speed / CHECK_INS_PER_S),
    )
    run = Run(directory, broker, data, options, say, sim, dict(zip(labelled, sim.labels, strict=True)))
    try:
        await run.daemon.start()
        await run.play()
    except* (Stuck, ChildDied, RpcError) as errors:
        run.figures.problems[:0] = _texts(errors)
    finally:
        run.panels.close()
        await run.daemon.stop()
        await sim.stop()
    return run


class Run:
    """A store at work. After `play`: `figures`, `judge`, `prober`, `journal`, `daemon` and `labels` say what happened."""

    def __init__(
        self,
        directory: Path,
        broker: RunningBroker,
        data: StoreData,
        options: Options,
        say: Callable[[str], None],
        sim: Simulator,
        labels: dict[str, str],
    ) -> None:
        """`labels` is sku -> label."""
        self.figures = Figures()
        self.journal = Journal()
        self.labels = labels
        self._data, self._options, self._sim = data, options, sim
        self._watch = Watch(say, len(labels))
        self._clock = sim.clock
        self._wall_offset_ms = sim.clock.wall_ms() - sim.clock.now_ms()
        self._rng = random.Random(options.seed)
        self.judge = Judge({label: sku for sku, label in labels.items()})
        self.panels = Panels(self.judge, {label: data.articles[sku].gtin for sku, label in labels.items()})
        store = f"store-{options.store}"
        config = write_config(
            directory, StoreSettings(store, f"Store {options.store}", (*LANES, PROBE_LANE), DWELL_MINUTES, 1.0, 4.0), sim.radios
        )
        self.daemon = DaemonProcess(directory, _program(options.break_name), config, sim.clock_path)
        self.hq = MiniHq(MqttAddress(broker.host, broker.port), store, sim.clock)
        codes = {sku: article.gtin for sku, article in data.articles.items()}

        def till(name: str, lane: str) -> Till:
            return Till(name, lane, lane_socket(directory, lane), sim.clock, self.journal, self.judge.charged, codes)

        self._tills = [till(lane, lane) for lane in LANES]
        self._asker = till("asker", PROBE_LANE)
        self.prober = Prober(till("probe", PROBE_LANE), sim.clock, round(DWELL_MINUTES * 60_000), self._list_labels, self._watch.moved)
        self.liar = Liar(sim, sim.clock, random.Random(options.seed + 1))
        self._opening = {sku: data.units_sold[sku] + SPARE_UNITS for sku in data.articles}
        self._baskets: asyncio.Queue[Basket] = asyncio.Queue()
        self._hurry = False
        self._shown = 0
        sim.on_event = self._on_event

    async def play(self) -> None:
        """Open the store, live the weeks, close the books. Raises Stuck, ChildDied, RpcError, in a group."""
        works: dict[str, Coroutine[Any, Any, None]] = {
            "simulator": self._sim.run(),
            "daemon": self.daemon.watch(),
            "hq": self.hq.run(),
            "panels": self.panels.run(),
            "probe": self.prober.buy(),
            "probe watch": self.prober.watch(self._asker),
            "lies": self.liar.run(),
            "watch": self._watch.run(self._progress, self._what_is_stuck),
            **{lane: self._sell(each) for lane, each in zip(LANES, self._tills, strict=True)},
        }
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(work, name=name) for name, work in works.items()]
            await self._open_store()
            await self._first_pictures()  # with a daemon that dies every few seconds this alone takes minutes
            killer = tasks.create_task(self._kill(self._options.kill_every_s), name="kill")
            for week in range(self._data.first_week, self._data.last_week + 1):
                await self._week(week)
            killer.cancel()
            await asyncio.wait([killer])
            await self.daemon.start()  # where the last cut left it
            await self._close()
            for task in watching:
                task.cancel()

    # -- phases ------------------------------------------------------------------------------------------------------------

    async def _open_store(self) -> None:
        """Enrol, the catalogue of the first week, a label for each article that will need one."""
        self._watch.enter("opening the store")
        data = self._data
        await self.daemon.call("enrol", self.hq.enrolment())
        rows = [price_row(row, data.first_week) for row in data.rows[data.first_week]]
        stock = [{"sku": sku, "on_hand": units, "unit": "each"} for sku, units in self._opening.items()]
        self.hq.snapshot([item(article) for article in data.articles.values()], rows, stock)
        await self._watch.until_answered(self._is_ready, "the catalogue to come through")
        for number, (sku, label) in enumerate(self.labels.items()):
            place = {"aisle": str(1 + number // 60), "bay": str(1 + number // 12 % 5), "shelf": str(1 + number // 4 % 3), "slot": "1"}
            self.hq.assign_label(label, [sku], "shelf", 0, place)
        await self._watch.until_answered(self._all_bound, "every label to be bound")
        self._watch.say(f"{len(data.articles)} articles in the catalogue, {len(self.labels)} labels on {len(self._sim.radios)} modules")

    async def _first_pictures(self) -> None:
        self._watch.enter("first pictures")
        self._sim.set_rate(self._options.speed)
        await self._settled()

    async def _week(self, week: int) -> None:
        """A week's prices and its sales; afterwards the store is at rest."""
        changes, baskets = self._data.changes.get(week, ()), self._data.baskets.get(week, ())
        self._watch.enter(f"week {week}")
        started_s = time.monotonic()
        due_ms = self._world_ms(week)
        if week > self._data.first_week:
            await self._skip_to(due_ms - SENT_AHEAD_MS)
        batches = await self._send(week) if week > self._data.first_week else []
        self.figures.sent += len(changes)
        if changes:
            await self._skip_to(due_ms - DUE_AHEAD_MS)
            self.liar.begin_week([(self.labels[change.sku], change.is_rise) for change in changes], due_ms)
            await self._sleep_until(due_ms)
            self.prober.begin(Transition(change, self.labels[change.sku], due_ms) for change in changes)
        self._hurry = False
        for basket in baskets:
            self._baskets.put_nowait(basket)
        done = await self.prober.finished()
        self._hurry = True
        await self._baskets.join()
        await self.liar.end_week()
        await self._settled()
        await self._watch.until(
            lambda: all(self._reached(seq, Stage.CONFIRMED) for seq in batches), "head office to hear of each confirmation"
        )
        await self._judge_week(week, changes)
        if changes:
            self._watch.say(
                f"week {week}: {len(changes)} changes ({sum(each.change.is_rise for each in done)} rises), {len(baskets)} baskets, "
                f"{self.liar.told_this_week}, overcharges so far {self.judge.overcharges}, {time.monotonic() - started_s:.0f} s"
            )

    async def _judge_week(self, week: int, changes: Sequence[Change]) -> None:
        """Everything is at rest: no picture is on its way, so all charges up to now can be judged."""
        await self.panels.all_read()
        self.judge.told(self._clock.now_ms())
        self.judge.forget()
        for change in changes:
            self.figures.applied += 1  # `Prober.finished`: the lane charges it
            label = self.labels[change.sku]
            shown = self.panels.prices.get(label)
            if shown == change.after.displayed_minor:
                self.figures.confirmed += 1
            elif self._options.break_name is None:
                self.figures.problems.append(f"week {week}: label {label} shows {shown} for {change.sku}, not {change.after}")

    async def _close(self) -> None:
        """Every sale asked for, HQ's books, the daemon's stock and our own count compared."""
        self._watch.enter("closing the books")
        await self._watch.until(lambda: len(self.hq.books.sales) >= len(self.journal.sent), "head office to book every sale")
        await self._watch.until_answered(self._outbox_empty, "the outbox to empty")
        figures, journal = self.figures, self.journal
        for sale_id in journal.sent:
            figures.sales_recorded += await self._tills[0].recorded(sale_id)
        daemon = (await self.daemon.call("stock.list", {}))["stock"]
        figures.sales_at_hq = sum(booked_right(self.hq.books, journal, sale_id) for sale_id in journal.sent)
        figures.stock_difference_units = stock_difference(self._opening, journal, self.hq.books.stock, daemon)
        figures.problems += book_problems(self.hq.books, journal)
        figures.problems += [f"unreadable picture: {text}" for text in self.panels.unreadable[:5]]
        self.judge.close()

    # -- head office ---------------------------------------------------------------------------------------------------------

    async def _send(self, week: int) -> list[int]:
        """The week's rows in batches; returns those that head office will hear a confirmation of."""
        changing = {change.sku for change in self._data.changes.get(week, ())}
        rows = self._data.rows.get(week, ())
        shown = [row for row in rows if row.sku in changing]
        unseen = [row for row in rows if row.sku not in changing]  # base prices under an offer: the shelf does not ask for them yet
        batches, quiet = ([self.hq.send_prices(batch) for batch in price_batches(each, self._data.first_week)] for each in (shown, unseen))
        await self._watch.until(
            lambda: all(self._reached(seq, Stage.APPLIED) or self._reached(seq, Stage.HELD) for seq in batches + quiet),
            "prices to be applied",
        )
        held = [seq for seq in batches + quiet if self._reached(seq, Stage.HELD)]
        if held:  # implausible, says the daemon; they are what the shop did
            holds = [hold["id"] for hold in (await self._call("hold.list", {}))["holds"]]
            released = self.hq.release(holds)
            await self._watch.until(lambda: (Stream.SYS, released) in self.hq.books.acks, "the release to arrive")
            self._watch.say(f"week {week}: {len(holds)} price changes were held as implausible, and released")
        return [seq for seq in batches if seq not in held]

    def _reached(self, seq: int, stage: Stage) -> bool:
        return self.hq.books.reached(Stream.PRICE, seq, stage)

    # -- tills -----------------------------------------------------------------------------------------------------------------

    async def _sell(self, till: Till) -> None:
        """The real baskets, one customer after the other."""
        while True:
            basket = await self._baskets.get()
            await till.sell(basket.lines)
            self._watch.moved()
            self._baskets.task_done()
            if not self._hurry:
                await asyncio.sleep(self._rng.uniform(*NEXT_CUSTOMER_S))

    # -- the daemon ------------------------------------------------------------------------------------------------------------

    async def _kill(self, every_s: float | None) -> None:
        """A power cut every so often, where possible between a sale's call and its answer; None: never. Until cancelled."""
        tendered = self.journal.tendered
        due_s = time.monotonic()
        while every_s is not None:
            due_s += every_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            tendered.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(KILL_WAIT_S):
                    await tendered.wait()
            await asyncio.sleep(self._rng.uniform(0, COMMIT_S))
            await self.daemon.kill()
            await self.daemon.start()

    async def _call(self, method: str, params: Mapping[str, object]) -> dict[str, Any]:
        """A control call that waits for a daemon that is away."""
        while True:
            with suppress(DaemonUnreachable):
                return await self.daemon.call(method, params)
            await asyncio.sleep(LOOK_S)

    async def _list_labels(self) -> Mapping[str, Mapping[str, Any]]:
        return {row["label"]: row for row in (await self.daemon.call("label.list", {}))["labels"]}

    async def _is_ready(self) -> bool:
        return bool((await self._call("status", {}))["ready"])

    async def _all_bound(self) -> bool:
        return bool((await self._call("status", {}))["labels"]["bound"] == len(self.labels))

    async def _outbox_empty(self) -> bool:
        return bool((await self._call("status", {}))["outbox"]["waiting"] == 0)

    async def _at_rest(self) -> bool:
        labels = (await self._call("status", {}))["labels"]
        return bool(labels["proven"] == len(self.labels) and labels["unsettled"] == 0)

    async def _settled(self) -> None:
        """Every label proven, by the daemon's word, and again a moment later."""
        while True:
            await self._watch.until_answered(self._at_rest, "every label to be proven")
            await asyncio.sleep(2 * LOOK_S)
            if await self._at_rest():
                return

    # -- time ------------------------------------------------------------------------------------------------------------------

    def _world_ms(self, week: int) -> int:
        return int(week_start(week).timestamp() * 1000) - self._wall_offset_ms

    async def _skip_to(self, at_ms: int) -> None:
        """Step the world over idle time."""
        while (left_ms := at_ms - self._clock.now_ms()) > 0:
            try:
                await self._sim.step(left_ms)
            except StepRefused:
                await asyncio.sleep(LOOK_S)

    async def _sleep_until(self, at_ms: int) -> None:
        await self._clock.sleep_ms(max(0, at_ms - self._clock.now_ms()))

    def _on_event(self, event: SimEvent) -> None:
        if event.kind == "display":
            self._shown += 1
            self._watch.moved()
            self.panels.take(event)
        elif event.kind == "error" and "step refused" not in str(event.data.get("message")):
            self.figures.problems.append(f"simulator: {event.data.get('message')}")
        self.prober.on_event(event)
        self.liar.on_event(event)

    # -- watching --------------------------------------------------------------------------------------------------------------

    def _progress(self) -> str:
        open_ = self.prober.open.values()
        proven = sum(each.proven_ms is not None for each in open_)
        bound = sum(each.bound_ms is not None for each in open_)
        changes = f"{proven} of {len(open_)} changes proven, {bound} in force; " if open_ else ""
        return (
            f"{changes}{len(self.journal.sent)} sales, {self._shown} pictures shown, {self.panels.behind} unread, {self.daemon.kills} kills"
        )

    async def _what_is_stuck(self) -> str:
        late = [each for each in self.prober.open.values() if each.bound_ms is None]
        lines = [f"  {each.change} on {each.label}, due {each.due_ms}: {each.moments}" for each in late[:STUCK_NAMED_MAX]]
        try:
            labels = await self._list_labels()
            lines.append(f"  {await self.daemon.call('status', {})}")
        except DaemonUnreachable as error:
            labels = {}
            lines.append(f"  {error}")
        waiting = {each.label for each in late} | {label for label, row in labels.items() if not is_proven(row)}
        lines += [f"  {labels.get(label)}" for label in sorted(waiting)[:STUCK_NAMED_MAX]]
        return "\n".join([*lines, f"  {len(waiting)} labels in all; the end of the daemon's log:", self.daemon.log_tail()])


def _program(break_name: str | None) -> list[str]:
    """The daemon, honest or with a broken guard."""
    if break_name is None:
        return [sys.executable, "-m", "edge"]
    return [sys.executable, str(Path(__file__).with_name("broken_daemon.py")), break_name]


def _texts(errors: BaseExceptionGroup[BaseException]) -> list[str]:
    found: list[str] = []
    for error in errors.exceptions:
        found += _texts(error) if isinstance(error, BaseExceptionGroup) else [f"{type(error).__name__}: {error}"]
    return found
