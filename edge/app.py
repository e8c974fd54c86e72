"""The composition root: builds the daemon from its configuration, starts it in order, ends it in order.

Order: store checked and open, view loaded, sockets listening, READY; radios, HQ, renderer and metrics follow. An error of store,
lanes or clock ends the process (systemd starts it again); radios, HQ and metrics restart alone.
"""

from __future__ import annotations

import asyncio
import gc
import grp
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict
from datetime import datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from drivers.base import Clock
from drivers.mqtt import MqttAddress, MqttLink
from drivers.oepl import OeplDriver
from edge.clock import SystemClock, entropy
from edge.config import Config, HqMode, ListenAddress, PriceSource, RadioConfig
from edge.config_sensors import SensorsConfig
from edge.control import Control
from edge.control_audit import AuditControl
from edge.control_import import ImportControl
from edge.control_token import TokenControl
from edge.desk import Desk, StoreFacts
from edge.evidence_key import BadKey, EvidenceKey, load_or_make
from edge.evidence_state import evidence_state
from edge.export import Exporter
from edge.guard_watch import GuardWatch
from edge.hold_keeper import HoldKeeper
from edge.hq import HqSync
from edge.import_desk import ImportDesk
from edge.import_folder import Folders
from edge.import_rows import StoreTerms
from edge.label_work import ShelfRules
from edge.labels import LabelService
from edge.lane_client import DaemonUnreachable, LaneClient
from edge.lane_tls import CertificateTrouble, fingerprint, server_context
from edge.metrics import Reading
from edge.notices import Notices
from edge.planning import PictureFacts
from edge.pos import LaneServer, LaneSocket
from edge.renderer import Renderer
from edge.rpc import ConnectionLimiter, ListenError, RpcHooks, RpcLimits, RpcServer
from edge.rpc_tls import TlsListen
from edge.sensors import Sensors
from edge.service import Service
from edge.state_lock import only_one
from edge.store import people
from edge.store.catalogue import AnomalyLimits
from edge.store.db import StoreError
from edge.store.inbox import Context
from edge.store.store import open_store
from edge.supervise import keep_running
from edge.view import Delta
from protocols.jsonrpc import RpcError
from protocols.pos import LANE_METHODS
from render.fields import SHIPPED, TemplateSource, with_own

if TYPE_CHECKING:
    from edge.prometheus import Metrics

log = logging.getLogger("shelfd")

EXIT_FATAL: Final = 3  # systemd starts the daemon again
DATABASE_NAME: Final = "shelfd.db"
LANE_GROUP: Final = "pos"  # who may open the lane sockets, where the group exists
CONTROL_FRAME_BYTES_MAX: Final = 64 << 20  # a catalogue file of 32 MB as a JSON string
CONTROL_FRAME_DEADLINE_S: Final = 30.0
HEAD_KEPT_S: Final = 30.0  # what a crash may hide from the next start's question whether the file is an older copy
SWITCH_INTERVAL_S: Final = 0.0001  # how long the writing thread keeps a lane waiting, some three times an answer; Python's own is 5 ms
PROOF_OF_LIFE_S: Final = 5.0  # longest a lane's hello and an empty transaction may take


def main(config: Config, *, time_scale: float = 1.0, sim_clock: Path | None = None) -> int:
    """Run the daemon until SIGTERM or SIGINT. Returns the exit code: 0, or 3 for an error that a restart may heal."""
    logging.basicConfig(level=str(config.daemon.log_level).upper(), format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("mqtt").setLevel(logging.ERROR)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return asyncio.run(_run(config, time_scale, sim_clock))


async def _run(config: Config, time_scale: float, sim_clock: Path | None) -> int:
    try:
        daemon = Daemon(config, _clock(time_scale, sim_clock))
    except (StoreError, OSError, CertificateTrouble) as error:
        log.critical("cannot start: %s", error)
        return EXIT_FATAL
    return await daemon.run()


def _clock(time_scale: float, sim_clock: Path | None) -> Clock:
    if sim_clock is not None:
        from drivers.sim.worldclock import WorldClock  # only in a simulated store

        return WorldClock(sim_clock)
    return SystemClock(time_scale)


class Daemon:
    """Everything that runs, built and connected. Needs a running event loop."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._service = Service()
        self._stop = asyncio.Event()
        self._exit_code = 0
        self._heard_ms, self._heard_messages = clock.now_ms(), 0
        self._enrolled = asyncio.Event()
        self._lock = only_one(config.daemon.state_dir)  # held as long as the process lives
        self.store = open_store(config.daemon.state_dir / DATABASE_NAME, clock, entropy, _context(config), self._fatal)
        view = self.store.view
        facts = PictureFacts(
            config.store.locale,
            config.store.currency,
            config.store.currency_exponent,
            view.codes,
            config.store.timezone,
            config.store.second_currency,
            _templates(config),
        )
        self._renderer = Renderer(config.render.workers, config.daemon.state_dir / "kernels", _templates(config))
        self._desk = Desk(self.store, clock, _store_facts(config), entropy, self._hq_heard_ms)
        self.store.changes_now = self._desk.changes_now
        self._labels = LabelService(self.store, clock, self._renderer, _shelf_rules(config), facts, self._desk.store_open)
        self._labels.table_above = self._desk.mirror.blocks
        self._desk.stock.radios = lambda: [radio.driver for radio in self._labels.radios.values() if radio.up]
        self._notices = Notices(view, self._desk.stale_s)
        self.store.listeners.append(self._notices.changed)
        for radio in config.radios:
            self._labels.add_radio(_driver(radio, clock, self._labels), str(radio.kind))
        self._watch = GuardWatch(self.store, clock, self._desk.store_open, config.guard.release_after_ms)
        self._sync = HqSync(self.store, clock, enrolled=self._enrolled, outbox_wake=self.store.outbox_grew) if _has_hq(config) else None
        self._sensors = Sensors(self.store, clock)
        self._control = Control(
            self.store,
            self._desk,
            self._labels,
            self._sync,
            self._renderer,
            clock,
            facts,
            config.store.id,
            self._enrolled.set,
            self._watch,
        )
        self._evidence_key = _evidence_key(config.daemon.state_dir)
        audit = AuditControl(
            self.store, self._desk, self._renderer, clock, config.store.timezone, config.store.id, self._evidence_key, entropy
        )
        self._control.serve(audit.methods)
        terms = StoreTerms(config.store.currency_exponent, config.store.timezone.key)
        from_file = config.price_source is PriceSource.FILE
        self._imports = ImportDesk(self.store, config.imports.feeds, terms, prices_from_file=from_file)
        self._control.serve(ImportControl(self.store, self._imports, config.daemon.state_dir).methods)
        self._control.serve(TokenControl(self.store, entropy).methods)
        self._metrics: Metrics | None = None
        limiter = ConnectionLimiter()
        hooks = RpcHooks(self._fatal, self._latency, lambda listener, why: log.debug("listener=%s dropped: %s", listener, why))
        self._lanes = LaneServer(
            self._desk,
            [LaneSocket(lane.id, lane.socket, lane.uids, _group_id(LANE_GROUP)) for lane in config.lanes if lane.socket is not None],
            limiter=limiter,
            hooks=hooks,
            clock=time.perf_counter,
            notices=self._notices,
            tls=_tls(config),
        )
        self._control_server = RpcServer(
            "control",
            config.daemon.control_socket,
            self._control.session,
            limiter=limiter,
            hooks=RpcHooks(self._fatal),
            clock=time.perf_counter,
            limits=RpcLimits(frame_bytes=CONTROL_FRAME_BYTES_MAX, frame_deadline_s=CONTROL_FRAME_DEADLINE_S),
        )

    async def run(self) -> int:
        """Until a signal or a fatal error. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        try:
            await self._lanes.start()
            await self._control_server.start()
        except ListenError as error:
            log.critical("cannot listen: %s", error)
            self.store.close()
            return EXIT_FATAL
        self._service.tell("READY=1", "STATUS=serving lanes")
        if self._evidence_key is not None:
            await self.store.note_evidence_key(self._evidence_key.public)
        log.info("store=%s ready, %d items, %d labels", self._config.store.id, len(self.store.view.items), len(self.store.view.labels))
        gc.freeze()  # code and catalogue live as long as the process: collections need not look at them while a lane waits
        gc.enable()
        self._renderer.start()
        units = [asyncio.create_task(unit, name=name) for name, unit in self._units()]
        await self._stop.wait()
        self._service.tell("STOPPING=1")
        await self._lanes.close()
        await self._control_server.close()
        for task in units:
            task.cancel()
        await asyncio.gather(*units, return_exceptions=True)
        self._renderer.stop()
        self.store.close()
        return self._exit_code

    def _units(self) -> list[tuple[str, Coroutine[object, object, None]]]:
        address = self._config.daemon.metrics_listen
        units: dict[str, Callable[[], Awaitable[None]]] = {
            "labels": self._labels.run,
            "holds": HoldKeeper(self.store, self._clock).run,
            "notices": self._notices.run,
            "guard": self._watch.run,
            "head": self._keep_head,
            "watchdog": self._prove_life,
        }
        units["import"] = self._bring_files
        if self._config.rest.listen is not None or self._config.rest.socket is not None:
            units["rest"] = self._serve_rest
        for name, radio in self._labels.radios.items():
            units[f"radio {name}"] = radio.driver.run
        if self._sync is not None:
            units["hq"] = self._sync.run
        else:
            units["export"] = Exporter(self.store, self._clock, self._config.hq.export_dir).run
        if self._config.sensors is not None:
            units["sensors"] = partial(self._hear_sensors, self._config.sensors)
            units["sensor readings"] = self._sensors.keep
        if address is not None:
            units["metrics"] = partial(self._serve_metrics, address.host, address.port)
        return [(name, keep_running(name, start)) for name, start in units.items()]

    async def _keep_head(self) -> None:
        """By what is kept beside the store's file the next start knows whether somebody put an older copy in its place."""
        while True:
            await asyncio.sleep(HEAD_KEPT_S)
            try:
                await self.store.keep_head()
            except OSError as error:
                log.warning("the head of the audit chain was not kept: %s", error)

    async def _prove_life(self) -> None:
        """Feed systemd's watchdog only after a lane's hello came through its socket and a transaction through the writer."""
        every_s = self._service.watchdog_s()
        if every_s is None:
            await asyncio.Event().wait()
            return
        sockets = [(lane.socket, lane.id) for lane in self._config.lanes if lane.socket is not None]
        path, lane_id = sockets[0] if sockets else (self._config.daemon.control_socket, "control")
        while True:
            try:
                async with asyncio.timeout(PROOF_OF_LIFE_S):
                    await self.store.run(lambda db: (db.execute("SELECT 1").fetchone(), Delta()))
                    async with await LaneClient.connect(path, timeout_s=PROOF_OF_LIFE_S) as client:
                        await client.hello(lane_id, client="watchdog")
                self._service.tell("WATCHDOG=1")
            except RpcError:
                self._service.tell("WATCHDOG=1")  # an answer, if only that the lane is full
            except (TimeoutError, DaemonUnreachable) as error:
                log.error("no proof of life: %s", error)
            await asyncio.sleep(every_s)

    async def _bring_files(self) -> None:
        """Go on with what a restart cut short, then watch the folders."""
        imports = self._config.imports
        await self._imports.resume(watched.feed.name for watched in imports.watched)
        if not imports.watched:
            await asyncio.Event().wait()
        await Folders(imports.watched, self._imports, self.store, self._clock, imports.poll_ms).run()

    async def _serve_rest(self) -> None:
        from edge.rest import RestServer  # nobody waits for it at the start
        from edge.rest_desk import RestDesk

        config = self._config
        desk = RestDesk(self.store, self._desk, self._imports, config.store, config.daemon.state_dir)
        await RestServer(desk, config.rest.requests_per_s, asyncio.get_running_loop().time).serve(config.rest.listen, config.rest.socket)

    async def _hear_sensors(self, config: SensorsConfig) -> None:
        """Raises OSError for a password that cannot be read: no reason to keep the lanes closed."""
        password = None if config.password_file is None else config.password_file.read_text().strip()
        ca = None if config.ca is None else str(config.ca)
        address = MqttAddress(config.host, config.port, config.tls, ca, config.username, password)
        await self._sensors.listen(MqttLink(address, f"{self._config.store.id}-sensors"), config.topic)

    async def _serve_metrics(self, host: str, port: int) -> None:
        from edge.prometheus import Metrics, serve  # its libraries take 20 ms, which the lanes need not wait for at the start

        self._metrics = self._metrics or Metrics(self._reading)
        await serve(self._metrics, host, port)

    def _hq_heard_ms(self) -> int:
        """When HQ was last heard, on the store's clock."""
        messages = self._sync.counters.messages if self._sync is not None else 0
        if messages != self._heard_messages:
            self._heard_ms, self._heard_messages = self._clock.now_ms(), messages
        return self._heard_ms

    def _fatal(self, error: BaseException) -> None:
        """Store, lanes: nothing to save by going on. Everything acknowledged is on disk."""
        log.critical("fatal: %s", error, exc_info=error)
        self._exit_code = EXIT_FATAL
        self._stop.set()

    def _latency(self, method: str, seconds: float) -> None:
        if self._metrics is not None:
            self._metrics.observe_latency(method if method in LANE_METHODS else "other", seconds)

    def _reading(self) -> Reading:
        labels, desk, outbox = self._labels.counters, self._desk.counters, self.store.outbox_state()
        oldest = self.store.outbox(outbox.first_unacked_seq - 1, 1)
        counters = self._sync.counters if self._sync is not None else None
        return Reading(
            changes={
                "received": counters.applied if counters else 0,
                "rendered": labels.rendered,
                "sent": labels.sent,
                "on_air": labels.on_air,
                "stored": labels.stored,
                "proven": labels.proven,
                "settled": labels.settled,
            },
            attempts_failed=dict(labels.failed),
            unproven_labels=self._labels.unsettled(),
            oldest_unproven_s=self._labels.oldest_unsettled_ms() / 1000,
            outbox_events=outbox.last_seq - outbox.first_unacked_seq + 1,
            outbox_age_s=max(0.0, (self._clock.wall_ms() - event_ms(oldest[0].time)) / 1000) if oldest else 0.0,
            radios_up={name: radio.up for name, radio in self._labels.radios.items()},
            guard_items_held=self._watch.items_held,
            guard_given_away_minor=self.store.read(people.given_away_by_reason),
            guard_overrides=self.store.read(people.overrides),
            labels_retired=sum(1 for label in self.store.view.labels.values() if label.retired),
            attempts_proven=dict(labels.proven_by),
            sales_recorded=desk.sales,
            sales_repeated=desk.sales_repeated,
            quotes=desk.quotes,
            hq_connected=self._sync is not None and self._sync.connected,
            hq_bad_signatures=counters.bad_signature if counters else 0,
            price_changes_held=len(self.store.held_prices()),
            evidence=evidence_state(self.store, self._sync, self._clock),
            sensor_readings=asdict(self._sensors.counters),
            ready=self._desk.ready(),
        )


def _evidence_key(state_dir: Path) -> EvidenceKey | None:
    """The key that signs bundles. Without it nothing but signing fails: tills do not wait for it."""
    try:
        return load_or_make(state_dir)
    except (BadKey, OSError) as error:
        log.error("no evidence can be signed: %s", error)
        return None


def _has_hq(config: Config) -> bool:
    return config.hq.mode is HqMode.MQTT


def _tls(config: Config) -> list[TlsListen]:
    """The LAN listeners: lanes that name the same address share one. Raises CertificateTrouble."""
    lanes: dict[ListenAddress, dict[str, str]] = {}
    folder = config.daemon.lane_certificates
    for lane in config.lanes:
        if lane.listen is not None:
            lanes.setdefault(lane.listen, {})[fingerprint(folder, lane.id)] = lane.id
    return [TlsListen(address.host, address.port, server_context(folder), known) for address, known in lanes.items()]


def _templates(config: Config) -> TemplateSource:
    return SHIPPED if config.labels.templates is None else with_own(config.labels.templates)


def _context(config: Config) -> Context:
    guard = config.guard
    limits = AnomalyLimits(
        Fraction(guard.anomaly_factor).limit_denominator(1000),
        Fraction(guard.anomaly_drop_percent).limit_denominator(1000),
        Fraction(guard.anomaly_batch_percent).limit_denominator(1000),
    )
    kind = str(config.radios[0].kind) if config.radios else ""
    hq_prices = config.price_source is PriceSource.HQ
    return Context(config.store.currency, limits, kind, config.labels.default_template, hq_prices, _templates(config))


def _store_facts(config: Config) -> StoreFacts:
    store = config.store
    return StoreFacts(
        store.id,
        store.currency,
        store.currency_exponent,
        str(store.tax_mode),
        store.timezone,
        store.opening_hours,
        store.business_day_starts_minute,
        config.guard.quote_valid_ms,
        config.scan,
        config.changes,
    )


def _shelf_rules(config: Config) -> ShelfRules:
    guard, labels = config.guard, config.labels
    grades = {str(kind): grade for kind, grade in guard.rise_binds_at.items()}
    return ShelfRules(guard.accept_inferred, guard.dwell_ms, labels.retry_after_ms, labels.retry_after_max_ms, grades)


def _driver(radio: RadioConfig, clock: Clock, labels: LabelService) -> OeplDriver:
    return OeplDriver(
        name=radio.name,
        device=str(radio.device),
        clock=clock,
        emit=labels.emit_for(radio.name),
        mac=radio.mac,
        channel=radio.channel,
        power=radio.power,
        fast=radio.fast,
    )


def _group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def event_ms(time_text: str) -> int:
    """UTC milliseconds of an event's `time`."""
    return int(datetime.fromisoformat(time_text).timestamp() * 1000)
