"""One run of the demo: its processes, its phases, and what is watched meanwhile.

The daemon is the real one, a process of its own with a broker, a serial port (a pseudo-terminal), a database and lane sockets.
Simulated are the radio module, the labels and time: see `edge.demo.board.time_text`.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from drivers.base import Clock
from drivers.mqtt import MqttAddress
from drivers.sim.worldclock import WorldClock
from edge.demo.board import Showing, show
from edge.demo.broker import RunningBroker, free_port
from edge.demo.catalogue import ARTICLES, Article, PriceBook
from edge.demo.children import Child, ChildDied, tail
from edge.demo.config import DWELL_MINUTES, STORE_ID, Places, config_text
from edge.demo.hq import MiniHq
from edge.demo.judge import Judge
from edge.demo.lanes import ANSWER_TIMEOUT_S, PriceChecker, Till
from edge.demo.ledger import Change, Changes, Sales, Stage
from edge.demo.pictures import TEMPLATE, UnreadPicture
from edge.demo.simulation import Simulation
from edge.demo.witness import Witness
from edge.lane_client import DaemonAbsent, DaemonUnreachable, LaneClient
from protocols.hq import Stream
from protocols.hq_events import Stage as AckStage
from protocols.jsonrpc import RpcError

LANES: Final = ("lane-1", "lane-2", "lane-3")
CHANGE_EVERY_S: Final = 1.0
CHANGING_SHARE: Final = 0.75  # of the run; then it drains
EXTRA_DRAIN_S: Final = 30.0  # at most, for changes that are on their way when the run is over
BOOKING_S: Final = 10.0  # at most, for the last sales to reach HQ
START_S: Final = 60.0  # at most, for the daemon to open its sockets and take the catalogue: about two seconds
WARM_UP_S: Final = 300.0  # at most, for the first picture on every label: half a minute, more where the kernels are compiled first
LOOK_S: Final = 0.1
STATUS_EVERY_S: Final = 0.5
OPENING_STOCK: Final = 10_000


class DemoFailed(Exception):
    """The demo cannot go on; the text is for people."""


@dataclass(frozen=True, slots=True)
class _Run:
    """What a run is made of while it lasts. `watching` is cancelled at its end, `selling` is waited for."""

    tasks: asyncio.TaskGroup
    sim: Simulation
    hq: MiniHq
    clock: Clock
    watching: set[asyncio.Task[None]]
    selling: set[asyncio.Task[None]]

    def watch(self, name: str, work: Coroutine[object, object, None]) -> None:
        self.watching.add(self.tasks.create_task(work, name=name))


class Demo:
    """`play` once, then read `showing` and `summary`."""

    def __init__(self, directory: Path, broker: RunningBroker, seconds: float | None, speed: float) -> None:
        self._places = Places(directory, LANES)
        self._broker = broker
        self._rng = random.Random()
        self._book = PriceBook(ARTICLES, self._rng)
        self._changes, self._sales = Changes(), Sales()
        self._labels: dict[str, Article] = {}
        self._stop = asyncio.Event()  # the user has seen enough
        self._closing = asyncio.Event()  # the tills finish their sale and end
        self.showing = Showing(
            self._changes,
            self._sales,
            Judge({}),
            labels=len(ARTICLES),
            lanes=len(LANES),
            broker=str(broker.kind),
            speed=speed,
            dwell_s=DWELL_MINUTES * 60,
            seconds=seconds,
            control=self._places.control,
        )

    def summary(self) -> list[str]:
        """The run in two lines, and each overcharge."""
        changes, sales, judge = self._changes, self._sales, self.showing.judge
        return [
            f"{changes.sent()} price changes sent, {changes.count(Stage.CONFIRMED)} confirmed; in force at the lane: "
            f"{changes.count(Stage.IN_FORCE, (True,))} rises, {changes.count(Stage.IN_FORCE, (False,))} cuts",
            f"{sales.sent} sales, {sales.recorded} recorded, {sales.at_hq} booked at HQ; "
            f"{judge.overcharges} overcharges in {judge.judged} lines",
            *(str(fault) for fault in judge.faults),
        ]

    async def play(self) -> list[str]:
        """From the first process to the last. Returns what went wrong, for people."""
        problems: list[str] = []
        children: list[Child] = []
        try:
            async with _signals(self._stop), show(self.showing):
                await self._run(children)
        except* (ChildDied, DemoFailed, UnreadPicture) as failures:
            problems += _texts(failures)
        except* (RpcError, DaemonUnreachable) as failures:  # what a lane sees; the end of a child explains it better
            problems += [text for child in children if (text := child.death())] or _texts(failures)
        finally:
            for child in reversed(children):
                await child.stop()
        if self.showing.judge.overcharges:
            problems.append(f"{self.showing.judge.overcharges} overcharges")
        if not problems and not self._stop.is_set() and self._changes.open:
            problems.append(f"{len(self._changes.open)} price changes were not confirmed, or not in force, at the end")
        return list(dict.fromkeys(problems))

    # -- the phases --------------------------------------------------------------------------------------------------------

    async def _run(self, children: list[Child]) -> None:
        places = self._places
        # one cache for the daemon's kernels and the witness's: without `make` none is named, and both would compile
        os.environ.setdefault("NUMBA_CACHE_DIR", str(places.directory / "kernels"))
        sim = await Simulation.start(places.clock, places.radio, places.log("simulator"), len(ARTICLES))
        children.append(sim.child)
        clock = WorldClock(places.clock)
        self._labels = dict(zip(sim.labels, ARTICLES, strict=True))
        self.showing.judge = Judge({label: article.sku for label, article in self._labels.items()})
        witness = Witness(self.showing.judge, self._changes)
        hq = MiniHq(MqttAddress(self._broker.host, self._broker.port), STORE_ID, clock)
        self._open_books(hq, witness)
        places.config.write_text(config_text(places, free_port()))
        command = [sys.executable, "-m", "edge", "run", "--config", str(places.config), "--sim-clock", str(places.clock)]
        daemon = await Child.start("the daemon", command, places.log("daemon"))
        children.append(daemon)
        try:
            async with asyncio.TaskGroup() as tasks:
                diary = tasks.create_task(witness.follow(sim.diary()), name="diary")
                tasks.create_task(witness.read_pictures(), name="pictures")
                run = _Run(tasks, sim, hq, clock, set(), set())
                run.watch("simulator", sim.child.watch())
                run.watch("daemon", daemon.watch())
                run.watch("broker", self._watch_broker())
                run.watch("hq", hq.run())
                run.watch("acks", self._follow_hq(hq, clock))
                await self._unless_stopped(tasks, self._phases(run, witness))
                await self._close(run)
                await daemon.stop()
                sim.quit()
                await diary
        finally:
            witness.close()
        self.showing.judge.close()
        if hq.books.alarms:
            raise DemoFailed(f"head office: {hq.books.alarms[0]}")

    async def _unless_stopped(self, tasks: asyncio.TaskGroup, work: Coroutine[object, object, None]) -> None:
        """Until `work` is done or the user has seen enough."""
        either = {tasks.create_task(work, name="phases"), tasks.create_task(_until(self._stop), name="stop")}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        for task in either:
            task.cancel()
        await asyncio.wait(either)

    async def _phases(self, run: _Run, witness: Witness) -> None:
        showing = self.showing
        showing.phase = "opening the store"
        async with await self._control() as control:
            await control.call("enrol", run.hq.enrolment(), dict)
        books = run.hq.books
        last = books.last_seq(Stream.BULK)
        await self._in_time(START_S, lambda: books.reached(Stream.BULK, last, AckStage.APPLIED), "the catalogue was not in force")
        self._assign_labels(run.hq)
        await self._in_time(START_S, lambda: len(books.bindings) == len(self._labels), "the labels were not bound")
        run.sim.set_rate(showing.speed)
        run.watch("status", self._follow_store(run.clock))
        for lane in LANES:
            rng = random.Random(self._rng.random())
            till = Till(lane, self._places.lane(lane), ARTICLES, run.clock, rng, self._sales, self._changes, showing.judge)
            run.selling.add(run.tasks.create_task(till.run(self._closing), name=lane))
        showing.phase = "first pictures"
        await self._in_time(WARM_UP_S, self._shelf_is_right, "not every label got its first picture")
        checker = PriceChecker(LANES[0], self._places.lane(LANES[0]), ARTICLES, self._changes, run.clock.now_ms)
        run.watch("price checker", checker.run())
        showing.phase = "changing prices"
        showing.started()
        await self._change_prices(run, witness)
        showing.phase = "draining"
        await asyncio.sleep(max(0.0, (showing.seconds or 0.0) - showing.elapsed_s))
        if self._changes.open:
            showing.phase = "draining, in overtime"
            await _within(EXTRA_DRAIN_S, lambda: not self._changes.open)
        showing.stopped()

    async def _close(self, run: _Run) -> None:
        """Let the tills finish, and HQ book what they sold."""
        self.showing.stopped()
        self.showing.phase = "closing"
        self._closing.set()
        if run.selling:
            await asyncio.wait(run.selling)
        await _within(BOOKING_S, lambda: len(run.hq.books.sales) >= self._sales.recorded)
        self._sales.at_hq = len(run.hq.books.sales)
        for task in run.watching:
            task.cancel()
        await asyncio.wait(run.watching)

    # -- head office -------------------------------------------------------------------------------------------------------

    def _open_books(self, hq: MiniHq, witness: Witness) -> None:
        """What HQ will say to a new store: its catalogue, with prices and opening stock."""
        stock = [{"sku": article.sku, "on_hand": OPENING_STOCK, "unit": "each"} for article in ARTICLES]
        hq.snapshot([article.item() for article in ARTICLES], self._book.opening_rows(), stock)
        for label, article in self._labels.items():
            witness.expect(label, article, self._book.prices[article.sku])

    def _assign_labels(self, hq: MiniHq) -> None:
        """One label to each article, when the store knows the articles: streams have no order among one another."""
        for number, (label, article) in enumerate(self._labels.items()):
            place = {"aisle": str(1 + number // 20), "bay": str(1 + number // 5 % 4), "shelf": str(1 + number % 5), "slot": "1"}
            hq.assign_label(label, [article.sku], TEMPLATE, 0, place)

    async def _change_prices(self, run: _Run, witness: Witness) -> None:
        """One change a second, rises and cuts in turn, each of an article whose last change is done."""
        labels = {article.sku: label for label, article in self._labels.items()}
        seconds = self.showing.seconds
        rise, number = True, 0
        while seconds is None or number * CHANGE_EVERY_S < seconds * CHANGING_SHARE:
            await asyncio.sleep(max(0.0, number * CHANGE_EVERY_S - self.showing.elapsed_s))
            number += 1
            thought = self._book.change(rise=rise, busy=self._changes.open)
            if thought is None:
                continue  # every article that could change is still changing
            article, label = self._book.articles[thought.sku], labels[thought.sku]
            witness.expect(label, article, thought.after)
            sent_ms = run.clock.now_ms()
            self._changes.send(Change(thought, run.hq.send_prices([thought.row]), article.name, label, sent_ms))
            rise = not rise

    async def _follow_hq(self, hq: MiniHq, clock: Clock) -> None:
        """Note what HQ is told of its changes, and the sales it has booked."""
        boot_wall_ms = clock.wall_ms() - clock.now_ms()
        stages = {AckStage.APPLIED: Stage.STORED, AckStage.CONFIRMED: Stage.CONFIRMED}
        while True:
            self._sales.at_hq = len(hq.books.sales)
            for change in list(self._changes.open.values()):
                for stage, staged in hq.books.acks.get((Stream.PRICE, change.seq), {}).items():
                    if stage in (AckStage.HELD, AckStage.REJECTED):
                        raise DemoFailed(f"the store answered a price change of {change.name} with {stage}: {staged.reason}")
                    if stage in stages:
                        self._changes.reach(change, stages[stage], staged.at_ms - boot_wall_ms)
            await asyncio.sleep(LOOK_S)

    # -- what is watched ---------------------------------------------------------------------------------------------------

    async def _control(self) -> LaneClient:
        """The daemon's control socket, as soon as somebody listens there."""
        deadline_s = asyncio.get_running_loop().time() + START_S
        while True:
            try:
                return await LaneClient.connect(self._places.control, timeout_s=ANSWER_TIMEOUT_S)
            except DaemonAbsent:
                if asyncio.get_running_loop().time() > deadline_s:
                    raise
            await asyncio.sleep(LOOK_S)

    async def _follow_store(self, clock: Clock) -> None:
        """Ask the daemon how it is."""
        showing = self.showing
        async with await self._control() as control:
            while True:
                status: dict[str, Any] = await control.call("status", {}, dict)
                showing.labels_proven = status["labels"]["proven"]
                showing.labels_unsettled = status["labels"]["unsettled"]
                showing.outbox = status["outbox"]["waiting"]
                showing.held_items = status["guard"]["items_held"]
                showing.given_away_minor = status["guard"]["given_away_minor"]
                showing.judge.forget()
                await asyncio.sleep(STATUS_EVERY_S)

    def _shelf_is_right(self) -> bool:
        """By the daemon's word every label is proven, and by what is on the panels every price is there."""
        showing = self.showing
        seen = sum(showing.judge.displayed(label) == article.first_price_minor for label, article in self._labels.items())
        return seen == showing.labels == showing.labels_proven and showing.labels_unsettled == 0

    async def _watch_broker(self) -> None:
        while (code := self._broker.process.poll()) is None:  # noqa: ASYNC110 - a plain process has no event to wait for
            await asyncio.sleep(LOOK_S)
        said = tail(self._places.log(self._broker.kind))
        raise ChildDied(f"the broker ({self._broker.kind}) ended with exit code {code}" + (f":\n{said}" if said else ""))

    async def _in_time(self, seconds: float, fact: Callable[[], bool], problem: str) -> None:
        """Wait for a fact. Raises DemoFailed with what the daemon said last."""
        if not await _within(seconds, fact):
            said = tail(self._places.log("daemon"))
            raise DemoFailed(f"{problem} within {seconds:.0f} s" + (f"; the end of the daemon's log:\n{said}" if said else ""))


@asynccontextmanager
async def _signals(stop: asyncio.Event) -> AsyncIterator[None]:
    """Ctrl-C and its kin ask for an orderly end; a second Ctrl-C does not wait for it."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def asked() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in numbers:
        loop.add_signal_handler(number, asked)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def _within(seconds: float, fact: Callable[[], bool]) -> bool:
    """Whether the fact came true in time."""
    try:
        async with asyncio.timeout(seconds):
            while not fact():  # noqa: ASYNC110 - facts of other processes have no event to wait for
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        return fact()
    return True


def _texts(failures: BaseExceptionGroup[Exception]) -> list[str]:
    """The messages of a group, nested groups included, each once."""
    texts: list[str] = []
    for failure in failures.exceptions:
        texts += _texts(failure) if isinstance(failure, BaseExceptionGroup) else [str(failure)]
    return list(dict.fromkeys(texts))
