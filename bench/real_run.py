"""One run: real weeks of a store through the running daemon, with labels that lie and, if asked for, a daemon that is killed."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bench.real_after import Backroom, SecondThoughts, SlowPayers
from bench.real_books import item, price_row
from bench.real_close import Figures, compare_books, compare_prices
from bench.real_data import SPARE_UNITS, Basket, Change, StoreData, week_start
from bench.real_head import HeadOffice
from bench.real_lanes import Journal, Till
from bench.real_lies import Liar
from bench.real_notice import Noticed, notice
from bench.real_panels import Panels
from bench.real_power import PowerCuts
from bench.real_prices import PriceBook
from bench.real_probe import Prober, Transition, is_proven
from bench.real_watch import LOOK_S, Stuck, Watch
from drivers.mqtt import MqttAddress
from edge.demo.broker import RunningBroker
from edge.demo.children import ChildDied
from edge.demo.hq import MiniHq
from edge.demo.judge import Charge, Judge
from edge.demo.world import DaemonProcess, SimEvent, Simulator, StepRefused, StoreSettings, lane_socket, write_config
from edge.lane_client import DaemonUnreachable
from protocols.jsonrpc import RpcError

LANES: Final = ("lane-1", "lane-2", "lane-3")
PROBE_LANE: Final = "probe"
BUYERS: Final = 3  # at the probe lane; with the one that only asks they are all that a lane admits
DWELL_MINUTES: Final = 2.0  # the product's default of two hours would only make the run longer
LABELS_MIN: Final = 300  # more than a module's table of 250 entries
LABELS_PER_MODULE: Final = 600
CHECK_IN_S: Final = 40.0  # between two of a label that has something to fetch; for the others more where that makes too many:
CHECK_INS_PER_S: Final = 900  # real; more would leave two cores little for anything else
SENT_AHEAD_MS: Final = 600_000  # head office sends a week's prices ten minutes before they are due
DUE_AHEAD_MS: Final = 20_000  # the clock is stepped to this long before the week begins
NEXT_CUSTOMER_S: Final = (0.02, 0.15)  # real, while prices change; a queue of customers afterwards
STUCK_NAMED_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said."""

    store: int
    weeks: int
    kill_every_s: float | None
    break_name: str | None
    speed: float
    seed: int


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
        check_in_s=_calm_check_in_s(len(labelled), options.speed),
    )
    run = Run(directory, broker, data, options, say, sim, dict(zip(labelled, sim.labels, strict=True)))
    try:
        await run.daemon.start()
        await run.play()
    except* Noticed:
        say("the broken daemon gave itself away")
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
        bindings = {label: sku for sku, label in labels.items()}
        self.judge = Judge(bindings)  # of each charge by what panels show until it is paid
        self.shoppers = Judge(bindings)  # and by what they showed within the dwell before
        self.prices = PriceBook(data, self._world_ms)
        self.panels = Panels((self.judge, self.shoppers), {label: data.articles[sku].gtin for sku, label in labels.items()})
        store = f"store-{options.store}"
        config = write_config(
            directory, StoreSettings(store, f"Store {options.store}", (*LANES, PROBE_LANE), DWELL_MINUTES, 1.0, 4.0), sim.radios
        )
        self.daemon = DaemonProcess(directory, _program(options.break_name), config, sim.clock_path)
        self.hq = MiniHq(MqttAddress(broker.host, broker.port), store, sim.clock)
        codes = {sku: article.gtin for sku, article in data.articles.items()}

        def till(name: str, lane: str) -> Till:
            return Till(name, lane, lane_socket(directory, lane), sim.clock, self.journal, self._charged, codes)

        self._tills = [till(lane, lane) for lane in LANES]
        self._asker = till("asker", PROBE_LANE)
        self._buyers = [till(f"probe-{number}", PROBE_LANE) for number in range(1, BUYERS + 1)]
        self._dwell_ms = round(DWELL_MINUTES * 60_000)
        self.prober = Prober(sim.clock, self._dwell_ms, self._list_labels, self.prices.settled, self._watch.moved)
        slow_tills = [till(f"{lane}-slow", lane) for lane in LANES]
        self._slow = SlowPayers(slow_tills, sim.clock, self.prober.shown_share, random.Random(options.seed + 4))
        self.liar = Liar(sim, sim.clock, random.Random(options.seed + 1))
        self._opening = {sku: data.units_sold[sku] + SPARE_UNITS for sku in data.articles}
        self._after = SecondThoughts(self.journal, random.Random(options.seed + 2))
        self._backroom = Backroom(self.journal, self._opening, self.hq, self._call, random.Random(options.seed + 3))
        self._head = HeadOffice(self.hq, data, self._watch, self._call)
        self._calm_check_in_ms = round(1000 * _calm_check_in_s(len(labels), options.speed))
        self._power = PowerCuts(self.daemon, self.journal, options.kill_every_s, self._rng)
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
            "probe watch": self.prober.watch(self._asker),
            "lies": self.liar.run(),
            "watch": self._watch.run(self._progress, self._what_is_stuck),
            **{lane: self._sell(each) for lane, each in zip(LANES, self._tills, strict=True)},
            **{f"probe {number}": self.prober.buy(each) for number, each in enumerate(self._buyers, start=1)},
        }
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(work, name=name) for name, work in works.items()]
            await self._open_store()
            if self._options.break_name is not None:
                noticing = notice(self._clock, self.panels, (self.judge, self.shoppers), self.prices)
                watching.append(tasks.create_task(noticing, name="notice"))
            await self._first_pictures()  # with a daemon that dies every few seconds this alone takes minutes
            killer = tasks.create_task(self._power.run(), name="power cuts")
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
        """A week's prices, its sales, and all that goes with them; afterwards the store is at rest."""
        changes, baskets = self._data.changes.get(week, ()), self._data.baskets.get(week, ())
        self._watch.enter(f"week {week}")
        started_s = time.monotonic()
        due_ms = self._world_ms(week)
        await self._backroom.begin_week()
        if week > self._data.first_week:
            await self._skip_to(due_ms - SENT_AHEAD_MS)
            await self._head.send(week)
        self.figures.sent += len(changes)
        for change in changes:
            self.prices.moves(change.sku)
            self._sim.check_in_every(self.labels[change.sku], round(CHECK_IN_S * 1000))
        paying: list[asyncio.Task[None]] = []
        if changes:
            await self._skip_to(due_ms - DUE_AHEAD_MS)
            self.liar.begin_week([(self.labels[change.sku], change.is_rise) for change in changes], due_ms)
            paying = await self._slow.quote([change.sku for change in changes if not change.is_rise])
            self.prober.expect(Transition(change, self.labels[change.sku], due_ms) for change in changes)
            await self._power.over(week, self._sleep_until(due_ms))
            self.prober.begin()
        self._hurry = False
        for basket in baskets:
            self._baskets.put_nowait(basket)
        await self._backroom.in_week(week)
        done = await self.prober.finished()
        self._hurry = True
        await self._baskets.join()
        await asyncio.gather(*paying)
        self._backroom.end_week(week)
        await self.liar.end_week()
        await self._settled()
        await self._head.confirmed(week, self._backroom.take_messages())
        await self._judge_week(week, changes)
        for change in changes:
            self._sim.check_in_every(self.labels[change.sku], self._calm_check_in_ms)
        if changes:
            self._watch.say(
                f"week {week}: {len(changes)} changes ({sum(each.change.is_rise for each in done)} rises), {len(baskets)} baskets, "
                f"{self.liar.told_this_week}, overcharges so far {self.judge.overcharges}, wrong prices {self.prices.wrong}, "
                f"{time.monotonic() - started_s:.0f} s"
            )

    async def _judge_week(self, week: int, changes: Sequence[Change]) -> None:
        """Everything is at rest: no picture is on its way, so all charges up to now can be judged."""
        await self.panels.all_read()
        for judge in (self.judge, self.shoppers):
            judge.told(self._clock.now_ms())
            judge.forget()
        figures = self.figures
        for change in changes:
            figures.applied += 1  # `Prober.finished`: the lane charges it
            figures.offers_due += change.starts_offer
            figures.ends_due += change.ends_offer
            label = self.labels[change.sku]
            shown = self.panels.prices.get(label)
            if shown == change.after.displayed_minor:
                figures.confirmed += 1
                figures.offers_started += change.starts_offer
                figures.offers_ended += change.ends_offer
            elif self._options.break_name is None:
                figures.problems.append(f"week {week}: label {label} shows {shown} for {change.sku}, not {change.after}")

    async def _close(self) -> None:
        """Every sale asked for, HQ's books, the daemon's and our own compared, and so every price."""
        self._watch.enter("closing the books")
        books, journal = self.hq.books, self.journal
        await self._watch.until(lambda: len(books.sales) >= len(journal.lines), "head office to book every sale")
        await self._watch.until(lambda: len(books.came_back) >= len(journal.came_back), "head office to book every return")
        await self._watch.until_answered(self._outbox_empty, "the outbox to empty")
        stock = (await self.daemon.call("stock.list", {}))["stock"]
        await compare_books(self.figures, journal, books, self._opening, stock, self._tills[0])
        asked = self.prices.now(self._clock.now_ms())
        await compare_prices(self.figures, asked, self.panels.prices, self.labels, self._tills[0])
        self.figures.problems += [f"unreadable picture: {text}" for text in self.panels.unreadable[:5]]
        self.judge.close()
        self.shoppers.close()

    # -- tills -----------------------------------------------------------------------------------------------------------------

    async def _sell(self, till: Till) -> None:
        """The real baskets, one customer after the other."""
        while True:
            basket = await self._baskets.get()
            sold = await till.sell(basket.lines)
            await self._after.follow(till, sold.sale_id)
            self._watch.moved()
            self._baskets.task_done()
            if not self._hurry:
                await asyncio.sleep(self._rng.uniform(*NEXT_CUSTOMER_S))

    # -- the daemon ------------------------------------------------------------------------------------------------------------

    def _charged(self, charge: Charge, paid_ms: int) -> None:
        self.judge.charged(replace(charge, answered_ms=paid_ms))
        self.shoppers.charged(replace(charge, asked_ms=charge.asked_ms - self._dwell_ms))
        self.prices.charged(charge)

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
        pictures = f"{self._shown} pictures shown, {self.panels.behind} unread"
        return f"{changes}{len(self.journal.lines)} sales, {pictures}, {self.daemon.kills} kills"

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


def _calm_check_in_s(labels: int, speed: float) -> float:
    """Between two check-ins of a label that has nothing to fetch."""
    return max(CHECK_IN_S, labels * speed / CHECK_INS_PER_S)


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
