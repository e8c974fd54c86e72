"""Prometheus text on a loopback address: read when asked, from what the parts count anyway. No label value comes from outside."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from edge.metrics import Reading

REQUEST_BYTES_MAX: Final = 8 * 1024  # a scrape's request line and headers
REQUEST_DEADLINE_S: Final = 5.0
CONNECTIONS_MAX: Final = 8  # a scraper and a person or two
LATENCY_BUCKETS_S: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)


class Metrics:
    """The registry of one daemon. `observe_latency` is called by the lane server for each answer."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        self.registry = CollectorRegistry()
        self._read = read
        self._answers: dict[str, list[int]] = {}  # by method: answers in each bucket, the last one without a bound
        self._latency_s: dict[str, float] = {}
        self.registry.register(self)

    def observe_latency(self, method: str, seconds: float) -> None:
        """A fraction of a microsecond: the library's own histogram costs a scan as much as finding its price."""
        answers = self._answers.get(method)
        if answers is None:
            answers = self._answers[method] = [0] * (len(LATENCY_BUCKETS_S) + 1)
            self._latency_s[method] = 0.0
        answers[bisect_left(LATENCY_BUCKETS_S, seconds)] += 1
        self._latency_s[method] += seconds

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def describe(self) -> list[Metric]:
        """Nothing is known before the parts run; keeps the registry from reading at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        latency = HistogramMetricFamily(
            "shelfd_lane_latency_seconds", "From the read that completed a call to its answer", labels=["method"]
        )
        for method, answers in self._answers.items():
            bounds = [*map(floatToGoString, LATENCY_BUCKETS_S), "+Inf"]
            buckets = list(zip(bounds, map(float, accumulate(answers)), strict=True))
            latency.add_metric([method], buckets, self._latency_s[method])
        yield latency
        now = self._read()
        yield _by("shelfd_changes", "Price changes and pictures by the stage they reached", "stage", now.changes)
        yield _by("shelfd_attempts_failed", "Attempts that ended without proof", "reason", now.attempts_failed)
        yield _gauge("shelfd_unproven_labels", "Labels that do not provably show what they should", now.unproven_labels)
        yield _gauge("shelfd_oldest_unproven_change_seconds", "Age of the oldest unproven change", now.oldest_unproven_s)
        yield _gauge("shelfd_outbox_events", "Events that HQ has not acknowledged", now.outbox_events)
        yield _gauge("shelfd_outbox_age_seconds", "Age of the oldest of them", now.outbox_age_s)
        radios = GaugeMetricFamily("shelfd_radio_up", "Whether a configured radio answers", labels=["radio"])
        for name, up in now.radios_up.items():
            radios.add_metric([name], float(up))
        yield radios
        held = GaugeMetricFamily("shelfd_guard_items_held", "Items whose lane price the shelf holds below target", labels=["reason"])
        for reason, count in now.guard_items_held.items():
            held.add_metric([reason], count)
        yield held
        given_away = now.guard_given_away_minor
        yield _by("shelfd_guard_given_away_minor", "Money the guard took off target prices, minor units", "reason", given_away)
        yield _counter("shelfd_guard_overrides", "Pictures let go after release_after_hours, unproven", now.guard_overrides)
        yield _gauge("shelfd_labels_retired", "Labels that people took out of use", now.labels_retired)
        yield _by("shelfd_attempts_proven", "Attempts proven, by how sure it is", "grade", now.attempts_proven)
        yield _counter("shelfd_sales", "Sales recorded", now.sales_recorded)
        yield _counter("shelfd_sales_repeated", "Sales sent again and answered from the record", now.sales_repeated)
        yield _counter("shelfd_quotes", "Quotes given", now.quotes)
        yield _gauge("shelfd_hq_connected", "Whether HQ's broker is connected", float(now.hq_connected))
        yield _counter("shelfd_hq_bad_signatures", "Messages that HQ did not sign", now.hq_bad_signatures)
        yield _gauge("shelfd_price_changes_held", "Price changes held for a person", now.price_changes_held)
        yield _by("shelfd_sensor_readings", "Readings of the store's sensors, by what became of them", "outcome", now.sensor_readings)
        evidence = now.evidence
        yield _gauge("shelfd_evidence_entries", "Entries of the audit chain", evidence.entries)
        if evidence.told_entry is not None and evidence.told_age_s is not None:
            yield _gauge(
                "shelfd_evidence_told_entries", "Entries up to the head of the audit chain that HQ was told last", evidence.told_entry
            )
            yield _gauge("shelfd_evidence_told_age_seconds", "How long ago HQ was told", evidence.told_age_s)
        yield _gauge("shelfd_store_file_bytes", "Size of the store's file", evidence.file_bytes)
        yield _gauge("shelfd_ready", "Whether lanes are answered with prices", float(now.ready))


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric([], value)
    return family


def _counter(name: str, text: str, value: float) -> Metric:
    family = CounterMetricFamily(name, text)
    family.add_metric([], value)
    return family


def _by(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


async def serve(metrics: Metrics, host: str, port: int) -> None:
    """Answer GET /metrics until cancelled. Any other request gets 404; a slow or large one is cut."""
    free = asyncio.Semaphore(CONNECTIONS_MAX)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with free, asyncio.timeout(REQUEST_DEADLINE_S):
                head = await reader.readuntil(b"\r\n\r\n")
                found = head.split(b" ", 2)[:2] == [b"GET", b"/metrics"]
                body = metrics.text() if found else b"only /metrics is here\n"
                status = b"200 OK" if found else b"404 Not Found"
                writer.write(
                    b"HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %d\r\n"
                    b"Connection: close\r\n\r\n%s" % (status, len(body), body)
                )
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the scraper went away or misbehaved: it comes again
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host, port, limit=REQUEST_BYTES_MAX)
    async with server:
        await server.serve_forever()
