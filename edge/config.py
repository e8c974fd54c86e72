"""The configuration: one TOML file, parsed once into frozen values. Nothing else reads it."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from drivers.base import Grade, RadioId
from edge.change_windows import ChangeRules
from edge.config_changes import changes
from edge.config_import import ImportConfig, import_config
from edge.config_reader import ConfigError, Table, describe
from edge.config_scan import scan_rules
from edge.config_sensors import SensorsConfig, sensors
from edge.opening_hours import ALWAYS_OPEN, MINUTES_PER_DAY, WEEKDAYS, OpeningHours, Span
from protocols.gs1 import Rules
from render.errors import FieldError
from render.fields import SecondCurrency

__all__ = ["Config", "ConfigError", "load", "parse"]

FILE_BYTES_MAX = 1 << 20  # a configuration is a page; a megabyte is a mistake
SOCKET_PATH_BYTES_MAX = 107  # sun_path of Linux holds 108 with its closing NUL
LANES_MAX = 64  # connections over all lanes are limited to 64
RADIOS_MAX = 32  # USB hubs end before this
OEPL_CHANNELS = (11, 15, 20, 25)  # the protocol also has 26 and 27, which current modules cannot use
DEFAULT_STATE_DIR = "/var/lib/shelfd"
DEFAULT_CONTROL_SOCKET = "/run/shelfd/control.sock"
DEFAULT_LANE_CERTIFICATES = "/etc/shelfd/lanes"

# Decimals of the minor unit where they are not 2 (ISO 4217).
_NO_DECIMALS = ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF")
_THREE_DECIMALS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
CURRENCY_EXPONENTS = dict.fromkeys(_NO_DECIMALS, 0) | dict.fromkeys(_THREE_DECIMALS, 3)


class PriceSource(StrEnum):
    """Who may write items and prices: one of them, the other is refused."""

    HQ = "hq"
    FILE = "file"


class TaxMode(StrEnum):
    """Whether the amounts on the labels include sales tax."""

    INCLUSIVE = "inclusive"
    EXCLUSIVE = "exclusive"


class HqMode(StrEnum):
    """MQTT to head office, or none: sales and stock events go to dated files."""

    MQTT = "mqtt"
    NONE = "none"


class RadioKind(StrEnum):
    """Radio families that have a driver."""

    OEPL = "oepl"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A TCP address of this machine."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """`business_day_starts_minute` counts from local midnight: sales before it belong to the day before."""

    id: str
    name: str
    country: str  # ISO 3166-1 alpha-2
    locale: str
    currency: str  # ISO 4217
    currency_exponent: int  # decimals of the currency's minor unit
    second_currency: SecondCurrency | None  # shown beside the prices
    timezone: ZoneInfo
    tax_mode: TaxMode
    opening_hours: OpeningHours
    business_day_starts_minute: int


@dataclass(frozen=True, slots=True)
class DaemonConfig:
    state_dir: Path
    control_socket: Path
    metrics_listen: ListenAddress | None  # None: off; on the loopback interface
    lane_certificates: Path  # where `shelfd lane add` puts what lanes on the LAN need
    log_level: LogLevel


@dataclass(frozen=True, slots=True)
class HqConfig:
    """The broker and the keys come with the enrolment file, not from here."""

    mode: HqMode
    topic_prefix: str
    export_dir: Path  # where mode "none" writes its events


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """The price guard and the stops for implausible changes."""

    accept_inferred: bool  # whether proof of grade "inferred" may bind a rise, where rise_binds_at does not say
    rise_binds_at: Mapping[RadioKind, Grade]  # the weakest grade that lets a rise bind, for each kind of label
    dwell_ms: int  # from proof of a rise until it binds, while the store is open
    anomaly_factor: float  # a price more than this many times the old one is held
    anomaly_drop_percent: float  # a price cut by more than this is held
    anomaly_batch_percent: float  # a batch that changes more than this share of all items is held
    quote_valid_ms: int
    release_after_ms: int | None  # None: no time-out ever releases a label's bound


@dataclass(frozen=True, slots=True)
class LabelsConfig:
    default_template: str
    templates: Path | None  # the store's own template files, looked at before the shipped ones
    retry_after_ms: int  # pause after the first failure of a label; doubles
    retry_after_max_ms: int


@dataclass(frozen=True, slots=True)
class RenderConfig:
    workers: int


@dataclass(frozen=True, slots=True)
class RestConfig:
    """Where REST is served: on this machine only, off unless one of them is set."""

    listen: ListenAddress | None  # on the loopback interface
    socket: Path | None
    requests_per_s: float  # of one token


@dataclass(frozen=True, slots=True)
class LaneConfig:
    """A till. It has a socket here, or an address where it comes with its certificate, or both."""

    id: str
    socket: Path | None
    listen: ListenAddress | None
    uids: frozenset[int] | None  # None: whoever may open the socket


@dataclass(frozen=True, slots=True)
class RadioConfig:
    """One radio module. `device` is a hint where to look, `mac` says which module it must be."""

    name: str
    kind: RadioKind
    device: Path
    mac: RadioId | None
    channel: int
    power: int
    fast: bool  # 2 Mbaud instead of 115,200 after start
    simulated: bool


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the daemon is told. Objects get the values they need from it, never the whole."""

    source: str  # the file's name, for messages
    price_source: PriceSource
    store: StoreConfig
    daemon: DaemonConfig
    hq: HqConfig
    guard: GuardConfig
    changes: ChangeRules  # when prices may rise
    labels: LabelsConfig
    scan: Rules  # what the store's own bar codes mean
    sensors: SensorsConfig | None  # None: off
    render: RenderConfig
    imports: ImportConfig
    rest: RestConfig
    lanes: tuple[LaneConfig, ...]
    radios: tuple[RadioConfig, ...]

    @property
    def all_radios_simulated(self) -> bool:
        """True only when there is a radio and every one is simulated: what a scaled clock needs."""
        return bool(self.radios) and all(radio.simulated for radio in self.radios)


def load(path: Path) -> Config:
    """Read and parse a file. Raises `ConfigError`, also when it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX} bytes, expected a configuration file")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: line {line}: not UTF-8 text") from error
    return parse(text, str(path))


def parse(text: str, source: str) -> Config:
    """Parse TOML text; `source` names it in messages. Raises `ConfigError`."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: not valid TOML: nested too deeply") from error
    top = Table(
        values,
        source=source,
        path="",
        keys=(
            "price_source",
            "store",
            "daemon",
            "hq",
            "guard",
            "changes",
            "labels",
            "scan",
            "sensors",
            "render",
            "import",
            "rest",
            "lane",
            "radio",
        ),
    )
    price_source = top.choice("price_source", PriceSource)
    daemon = _daemon(top)
    config = Config(
        source=source,
        price_source=price_source,
        store=_store(top),
        daemon=daemon,
        hq=_hq(top, daemon.state_dir),
        guard=_guard(top),
        changes=changes(top),
        labels=_labels(top),
        scan=scan_rules(top),
        sensors=sensors(top),
        render=RenderConfig(workers=top.table("render", ("workers",)).integer("workers", low=1, high=8, default=1)),
        imports=import_config(top, prices_from_file=price_source is PriceSource.FILE),
        rest=(rest := _rest(top)),
        lanes=_lanes(top, {daemon.control_socket: "daemon.control_socket"} | ({rest.socket: "rest.socket"} if rest.socket else {})),
        radios=_radios(top),
    )
    if config.price_source is PriceSource.HQ and config.hq.mode is HqMode.NONE:
        raise top.bad("price_source", '"file" where hq.mode is "none": nobody else would bring prices')
    return config


def _store(top: Table) -> StoreConfig:
    keys = ("id", "name", "country", "locale", "currency", "currency_exponent", "timezone", "tax_mode")
    table = top.table("store", (*keys, "second_currency", "opening_hours", "business_day_starts"))
    currency = table.text("currency", 'an ISO 4217 code such as "EUR"', pattern="[A-Z]{3}")
    return StoreConfig(
        id=table.text("id", "1 to 32 letters, digits, _ or -", pattern="[A-Za-z0-9_-]{1,32}"),
        name=table.text("name", "1 to 100 characters", pattern=r"[^\x00-\x1f]{1,100}"),
        country=table.text("country", 'an ISO 3166 code such as "DE"', pattern="[A-Z]{2}"),
        locale=table.text("locale", 'a language tag such as "de-DE"', pattern="[a-z]{2,3}([-_][A-Z]{2})?"),
        currency=currency,
        currency_exponent=table.integer("currency_exponent", low=0, high=4, default=CURRENCY_EXPONENTS.get(currency, 2)),
        second_currency=_second_currency(table) if table.has("second_currency") else None,
        timezone=_timezone(table),
        tax_mode=table.choice("tax_mode", TaxMode),
        opening_hours=_opening_hours(table),
        business_day_starts_minute=_minute_of_day(table, "business_day_starts", default="00:00"),
    )


def _second_currency(store: Table) -> SecondCurrency:
    """What labels show beside the store's currency, at a fixed rate."""
    table = store.table("second_currency", ("code", "exponent", "rate", "inverse"))
    code = table.text("code", 'an ISO 4217 code such as "BGN"', pattern="[A-Z]{3}")
    exponent = table.integer("exponent", low=0, high=3, default=CURRENCY_EXPONENTS.get(code, 2))
    rate = table.text("rate", 'a decimal text of six significant figures such as "1.95583"')
    try:
        return SecondCurrency(code, exponent, rate, table.boolean("inverse", default=False))
    except FieldError as error:
        raise table.bad("rate", str(error).partition(", expected ")[2]) from error


def _timezone(table: Table) -> ZoneInfo:
    expected = 'an IANA zone such as "Europe/Berlin"'
    name = table.text("timezone", expected, pattern="[A-Za-z0-9_+/-]{1,64}")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: the name of a directory in the zone data
        raise table.bad("timezone", expected) from error


def _opening_hours(table: Table) -> OpeningHours:
    """Unset or "always", or all seven days: a forgotten day must not read as closed, since the dwell is 0 then."""
    if not table.has("opening_hours") or table.raw("opening_hours") == "always":
        return ALWAYS_OPEN
    if not isinstance(table.raw("opening_hours"), dict):
        raise table.bad("opening_hours", '"always" or a table of days mon to sun')
    days = table.table("opening_hours", WEEKDAYS)
    return OpeningHours(tuple(_day(days, day) for day in WEEKDAYS))


def _day(days: Table, day: str) -> tuple[Span, ...]:
    expected = 'a list such as ["08:00-12:30", "14:00-20:00"], "always", or [] for closed'
    value = days.raw(day)
    if value == "always":
        return (Span(0, MINUTES_PER_DAY),)
    if value is None:
        raise days.error(day, f"missing, expected {expected}")
    if not isinstance(value, list):
        raise days.bad(day, expected)
    return tuple(_span(days, day, text) for text in value)


def _span(days: Table, day: str, text: object) -> Span:
    expected = '"HH:MM-HH:MM" with 24:00 as the latest end; an end before the start is past midnight'
    problem = days.error(day, f"found {describe(text)}, expected {expected}")
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)", text) if isinstance(text, str) else None
    if match is None:
        raise problem
    start = int(match[1]) * 60 + int(match[2])
    end = int(match[3]) * 60 + int(match[4]) if match[3] else MINUTES_PER_DAY
    if end == start:
        raise problem
    return Span(start, end if end > start else end + MINUTES_PER_DAY)


def _minute_of_day(table: Table, key: str, *, default: str) -> int:
    text = table.text(key, 'a time of day such as "04:00"', default=default, pattern=r"([01]\d|2[0-3]):[0-5]\d")
    return int(text[:2]) * 60 + int(text[3:])


def _daemon(top: Table) -> DaemonConfig:
    table = top.table("daemon", ("state_dir", "control_socket", "metrics_listen", "lane_certificates", "log_level"))
    return DaemonConfig(
        state_dir=table.absolute_path("state_dir", default=DEFAULT_STATE_DIR),
        control_socket=_socket_path(table, "control_socket", default=DEFAULT_CONTROL_SOCKET),
        metrics_listen=_loopback(table, "metrics_listen", default="127.0.0.1:9464"),
        lane_certificates=table.absolute_path("lane_certificates", default=DEFAULT_LANE_CERTIFICATES),
        log_level=table.choice("log_level", LogLevel, default=LogLevel.INFO),
    )


def _lan_address(table: Table, key: str) -> ListenAddress:
    """One address of this machine's; never all of them, since tills are on one network and shoppers on another."""
    expected = 'an address of this machine and a port, such as "10.0.0.5:7443"'
    host, _, port_text = table.text(key, expected, pattern=r"(\[[0-9a-f:]+\]|[0-9.]+):[0-9]{1,5}").rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError as error:
        raise table.bad(key, expected) from error
    if address.is_unspecified or address.is_multicast or not 1 <= int(port_text) <= 65535:
        raise table.bad(key, expected)
    return ListenAddress(str(address), int(port_text))


def _loopback(table: Table, key: str, *, default: str) -> ListenAddress | None:
    expected = 'a loopback address such as "127.0.0.1:9464", or "" for off'
    text = table.text(key, expected, default=default, pattern=r"|(\[[0-9a-f:]+\]|[0-9.]+):[0-9]{1,5}")
    if not text:
        return None
    host, _, port_text = text.rpartition(":")
    host = host.strip("[]")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError as error:
        raise table.bad(key, expected) from error
    if not loopback or not 1 <= int(port_text) <= 65535:
        raise table.bad(key, expected)
    return ListenAddress(host, int(port_text))


def _socket_path(table: Table, key: str, *, default: str | None = None) -> Path:
    path = table.absolute_path(key, default=default)
    if len(bytes(path)) > SOCKET_PATH_BYTES_MAX:
        raise table.error(
            key, f"found a path of {len(bytes(path))} bytes, expected at most {SOCKET_PATH_BYTES_MAX}: Unix sockets end there"
        )
    return path


def _hq(top: Table, state_dir: Path) -> HqConfig:
    table = top.table("hq", ("mode", "topic_prefix", "export_dir"))
    level = "[A-Za-z0-9_-]+"
    return HqConfig(
        mode=table.choice("mode", HqMode, default=HqMode.MQTT),
        topic_prefix=table.text(
            "topic_prefix",
            'levels of letters, digits, _ or - such as "rs/1", 64 characters at most',
            default="rs/1",
            pattern=f"(?=.{{1,64}}$){level}(/{level})*",
        ),
        export_dir=table.absolute_path("export_dir", default=str(state_dir / "export")),
    )


def _guard(top: Table) -> GuardConfig:
    table = top.table(
        "guard",
        (
            "accept_inferred",
            "rise_binds_at",
            "dwell_minutes",
            "anomaly_factor",
            "anomaly_drop_percent",
            "anomaly_batch_percent",
            "quote_valid_minutes",
            "release_after_hours",
        ),
    )
    release_after_hours = table.number("release_after_hours", low=0, high=24 * 365, default=0)
    accept_inferred = table.boolean("accept_inferred", default=True)
    rises, usual = table.table("rise_binds_at", tuple(RadioKind)), Grade.INFERRED if accept_inferred else Grade.SHOWN
    return GuardConfig(
        accept_inferred=accept_inferred,
        rise_binds_at={kind: rises.choice(kind, Grade, default=usual) for kind in RadioKind},
        dwell_ms=round(table.number("dwell_minutes", low=0, high=24 * 60, default=120) * 60_000),
        anomaly_factor=table.number("anomaly_factor", low=1, high=1000, default=10),
        anomaly_drop_percent=table.number("anomaly_drop_percent", low=1, high=100, default=90),
        anomaly_batch_percent=table.number("anomaly_batch_percent", low=0.1, high=100, default=20),
        quote_valid_ms=round(table.number("quote_valid_minutes", low=0.1, high=24 * 60, default=15) * 60_000),
        release_after_ms=round(release_after_hours * 3_600_000) or None,
    )


def _labels(top: Table) -> LabelsConfig:
    table = top.table("labels", ("default_template", "templates", "retry_after_minutes", "retry_after_max_minutes"))
    first = table.number("retry_after_minutes", low=0.1, high=24 * 60, default=5)
    last = table.number("retry_after_max_minutes", low=0.1, high=24 * 60, default=max(60.0, first))
    if last < first:
        raise table.bad("retry_after_max_minutes", f"at least retry_after_minutes, {first:g}")
    return LabelsConfig(
        default_template=table.text(
            "default_template", "a template's name: letters, digits, _ or -", default="shelf", pattern="[A-Za-z0-9_-]{1,64}"
        ),
        templates=table.absolute_path("templates") if table.has("templates") else None,
        retry_after_ms=round(first * 60_000),
        retry_after_max_ms=round(last * 60_000),
    )


def _rest(top: Table) -> RestConfig:
    table = top.table("rest", ("listen", "socket", "requests_per_second"))
    return RestConfig(
        listen=_loopback(table, "listen", default=""),
        socket=_socket_path(table, "socket") if table.has("socket") else None,
        requests_per_s=table.number("requests_per_second", low=0.1, high=1000, default=20),
    )


def _lanes(top: Table, taken: Mapping[Path, str]) -> tuple[LaneConfig, ...]:
    lanes: list[LaneConfig] = []
    sockets = dict(taken)
    for table in top.tables("lane", ("id", "socket", "listen", "uids"), count_max=LANES_MAX):
        on_lan = table.has("listen")
        lane = LaneConfig(
            id=table.text("id", "1 to 32 letters, digits, _ or -", pattern="[A-Za-z0-9_-]{1,32}"),
            socket=None if on_lan and not table.has("socket") else _socket_path(table, "socket"),
            listen=_lan_address(table, "listen") if on_lan else None,
            uids=_uids(table),
        )
        if any(lane.id == other.id for other in lanes):
            raise table.bad("id", "another id: an earlier lane has this one")
        if lane.socket is not None:
            if lane.socket in sockets:
                raise table.bad("socket", f"another path: {sockets[lane.socket]} has this one")
            sockets[lane.socket] = table.key_path("socket")
        lanes.append(lane)
    return tuple(lanes)


def _uids(table: Table) -> frozenset[int] | None:
    expected = "a list of user numbers such as [1001]; leave it out to allow whoever may open the socket"
    if not table.has("uids"):
        return None
    value = table.raw("uids")
    if not isinstance(value, list) or not value:
        raise table.bad("uids", expected)
    for uid in value:
        if isinstance(uid, bool) or not isinstance(uid, int) or not 0 <= uid < 2**32 - 1:
            raise table.bad("uids", expected)
    return frozenset(value)


def _radios(top: Table) -> tuple[RadioConfig, ...]:
    radios: list[RadioConfig] = []
    keys = ("name", "kind", "device", "mac", "channel", "power", "fast", "simulated")
    for table in top.tables("radio", keys, count_max=RADIOS_MAX):
        radio = RadioConfig(
            name=table.text("name", "1 to 32 letters, digits, _ or -", pattern="[A-Za-z0-9_-]{1,32}"),
            kind=table.choice("kind", RadioKind, default=RadioKind.OEPL),
            device=table.absolute_path("device"),
            mac=RadioId(table.text("mac", "16 hex digits", pattern="[0-9A-Fa-f]{16}").upper()) if table.has("mac") else None,
            channel=table.integer("channel", low=0, high=255, default=OEPL_CHANNELS[0]),
            power=table.integer("power", low=0, high=255, default=10),
            fast=table.boolean("fast", default=False),
            simulated=table.boolean("simulated", default=False),
        )
        if radio.channel not in OEPL_CHANNELS:
            raise table.bad("channel", "one of " + ", ".join(map(str, OEPL_CHANNELS)))
        for other in radios:
            if radio.name == other.name:
                raise table.bad("name", "another name: an earlier radio has this one")
            if radio.device == other.device:
                raise table.bad("device", f'another path: radio "{other.name}" has this one')
            if radio.mac is not None and radio.mac == other.mac:
                raise table.bad("mac", f'another address: radio "{other.name}" has this one')
        radios.append(radio)
    return tuple(radios)
