"""The configuration: what is accepted, and that every mistake is one line with file, key, found and expected."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import ConfigError, HqMode, ListenAddress, PriceSource, TaxMode, load, parse
from edge.config_reader import FOUND_CHARS_MAX

STORE = """
[store]
id = "s-1"
name = "Corner"
country = "DE"
locale = "de-DE"
currency = "EUR"
timezone = "Europe/Berlin"
tax_mode = "inclusive"
"""
MINIMAL = 'price_source = "hq"\n' + STORE


def error_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "shop.toml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("shop.toml: ")
    return message.removeprefix("shop.toml: ")


def test_the_shipped_file_is_accepted(project_root: Path) -> None:
    config = load(project_root / "config.toml")
    assert config.price_source is PriceSource.HQ
    assert [lane.id for lane in config.lanes] == ["lane-1", "lane-2"]
    assert not config.all_radios_simulated


def test_the_shipped_file_names_every_key(project_root: Path) -> None:
    text = (project_root / "config.toml").read_text("utf-8")
    layout = ("[[scan.layout]]", "name =", "pattern =", "value =", "unit =", "item =")
    feed = ("name", "kind", "mode", "folder", "pattern", "complete", "delimiter", "encoding", "decimal", "dates", "price_kind")
    feeds = ("[[import.feed]]", *(f"{key} =" for key in (*feed, "hold_percent", "keep_days", "columns")))
    keys = ("uids =", "listen =", "mac =", "templates =", "[store.second_currency]", "code =", "rate =", "socket =", *layout, *feeds)
    for key in dict.fromkeys(keys):
        assert f"\n# {key}" in text
        text = text.replace(f"\n# {key}", f"\n{key}")
    values = tomllib.loads(text)
    sections = ("daemon", "hq", "guard", "labels", "scan", "render", "import", "rest")
    for section, line in {"store": STORE, **dict.fromkeys(sections, "")}.items():
        start = MINIMAL if line else f"{MINIMAL}[{section}]\n"
        known = error_of(f"{start}zzzzzzzz = 1").split("expected one of ")[1].split(", ")
        assert set(known) == set(values[section]), section
    for section in ("lane", "radio", "scan.layout", "import.feed"):
        known = error_of(f"{MINIMAL}[[{section}]]\nzzzzzzzz = 1").split("expected one of ")[1].split(", ")
        table, _, list_ = section.partition(".")
        shown = values[table][list_] if list_ else values[table]
        assert set(known) == set(shown[0]), section


def test_what_is_left_out_has_the_documented_default(project_root: Path) -> None:
    shipped, minimal = load(project_root / "config.toml"), parse(MINIMAL, "shop.toml")
    assert minimal.daemon == shipped.daemon
    assert minimal.hq == shipped.hq
    assert minimal.guard == shipped.guard
    assert minimal.labels == shipped.labels
    assert minimal.scan == shipped.scan
    assert minimal.render == shipped.render
    assert minimal.store.opening_hours.days is None
    assert (minimal.lanes, minimal.radios) == ((), ())


@pytest.mark.parametrize(
    "guard, binds_at",
    [
        ("", "inferred"),
        ("accept_inferred = false", "shown"),
        ("accept_inferred = false\nrise_binds_at.oepl = 'inferred'", "inferred"),
        ("[guard.rise_binds_at]\noepl = 'person'", "person"),
    ],
)
def test_which_proof_lets_a_rise_bind_is_said_by_kind_of_label(guard: str, binds_at: str) -> None:
    assert parse(f"{MINIMAL}[guard]\n{guard}", "shop.toml").guard.rise_binds_at == {"oepl": binds_at}


def test_values_arrive_with_their_types() -> None:
    config = parse(
        'price_source = "file"\n' + STORE + 'business_day_starts = "04:30"\n[hq]\nmode = "none"\n'
        "[guard]\ndwell_minutes = 0.5\nrelease_after_hours = 2\n[daemon]\nstate_dir = '/srv/s'\nmetrics_listen = '[::1]:99'\n"
        "[[lane]]\nid = 'a'\nsocket = '/tmp/a.sock'\nuids = [1, 2, 2]\n"
        "[[radio]]\nname = 'r'\ndevice = '/dev/pts/3'\nmac = '0000a1b2c3d4e5f6'\nchannel = 25\nsimulated = true\n",
        "shop.toml",
    )
    assert (config.hq.mode, config.hq.export_dir) == (HqMode.NONE, Path("/srv/s/export"))
    assert config.store.tax_mode is TaxMode.INCLUSIVE
    assert config.store.timezone.key == "Europe/Berlin"
    assert config.store.business_day_starts_minute == 270
    assert (config.guard.dwell_ms, config.guard.release_after_ms) == (30_000, 7_200_000)
    assert config.daemon.metrics_listen is not None
    assert (config.daemon.metrics_listen.host, config.daemon.metrics_listen.port) == ("::1", 99)
    assert config.lanes[0].uids == frozenset({1, 2})
    assert (config.radios[0].mac, config.radios[0].channel) == ("0000A1B2C3D4E5F6", 25)
    assert config.all_radios_simulated


def test_the_metrics_can_be_off() -> None:
    assert parse(MINIMAL + "[daemon]\nmetrics_listen = ''", "shop.toml").daemon.metrics_listen is None


@pytest.mark.parametrize("code, exponent", [("EUR", 2), ("JPY", 0), ("KWD", 3)])
def test_the_currency_brings_its_exponent(code: str, exponent: int) -> None:
    assert parse(MINIMAL.replace("EUR", code), "shop.toml").store.currency_exponent == exponent


def test_a_store_without_radios_is_not_a_simulated_store() -> None:
    assert not parse(MINIMAL, "shop.toml").all_radios_simulated


def test_one_real_radio_makes_the_store_real() -> None:
    radios = "[[radio]]\nname = 'a'\ndevice = '/dev/a'\nsimulated = true\n[[radio]]\nname = 'b'\ndevice = '/dev/b'\n"
    assert not parse(MINIMAL + radios, "shop.toml").all_radios_simulated


def test_a_lane_has_a_socket_or_an_address_or_both_and_lanes_share_an_address() -> None:
    config = parse(
        MINIMAL
        + "[[lane]]\nid = 'a'\nlisten = '10.0.0.5:7443'\n"
        + "[[lane]]\nid = 'b'\nsocket = '/tmp/b'\nlisten = '10.0.0.5:7443'\n"
        + "[[lane]]\nid = 'c'\nlisten = '[fd00::5]:7443'\n",
        "test",
    )
    shared = ListenAddress("10.0.0.5", 7443)
    assert [(lane.socket, lane.listen) for lane in config.lanes] == [
        (None, shared),
        (Path("/tmp/b"), shared),
        (None, ListenAddress("fd00::5", 7443)),
    ]
    assert config.daemon.lane_certificates == Path("/etc/shelfd/lanes")


LANE = "[[lane]]\nid = 'a'\nsocket = '/tmp/a'\n"
RADIO = "[[radio]]\nname = 'a'\ndevice = '/dev/a'\n"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", 'price_source: missing, expected "hq" or "file"'),
        ("price_source = 3\n" + STORE, 'price_source: found 3, expected "hq" or "file"'),
        ('price_sorce = "hq"\n' + STORE, 'price_sorce: unknown key, did you mean "price_source"?'),
        (MINIMAL + "[stores]\n", 'stores: unknown key, did you mean "store"?'),
        (MINIMAL.replace("currency =", "curency ="), 'store.curency: unknown key, did you mean "currency"?'),
        (MINIMAL.replace('"EUR"', '"euro"'), 'store.currency: found "euro", expected an ISO 4217 code such as "EUR"'),
        (MINIMAL.replace('"EUR"', "true"), 'store.currency: found true, expected an ISO 4217 code such as "EUR"'),
        (MINIMAL.replace('"s-1"', '"s 1"'), 'store.id: found "s 1", expected 1 to 32 letters, digits, _ or -'),
        (
            MINIMAL.replace("Europe/Berlin", "Europe/Bern"),
            'store.timezone: found "Europe/Bern", expected an IANA zone such as "Europe/Berlin"',
        ),
        (MINIMAL.replace("Europe/Berlin", "Europe"), 'store.timezone: found "Europe", expected an IANA zone'),
        (MINIMAL.replace("Europe/Berlin", "../../etc/passwd"), "store.timezone: found"),
        (MINIMAL.replace('"inclusive"', '"incl"'), 'store.tax_mode: found "incl", expected "inclusive" or "exclusive"'),
        ('store = 1\nprice_source = "hq"', "store: found 1, expected a table [store]"),
        (MINIMAL + "currency_exponent = 5", "store.currency_exponent: found 5, expected a whole number from 0 to 4"),
        (MINIMAL + "currency_exponent = true", "store.currency_exponent: found true"),
        (MINIMAL + "business_day_starts = '24:00'", 'store.business_day_starts: found "24:00", expected a time of day'),
        (MINIMAL + "business_day_starts = 04:00:00", "store.business_day_starts: found time 04:00:00"),
        (MINIMAL + "opening_hours = 'never'", 'store.opening_hours: found "never", expected "always" or a table'),
        (MINIMAL + "[store.opening_hours]\nmo = []", 'store.opening_hours.mo: unknown key, did you mean "mon"?'),
        (MINIMAL + "[store.opening_hours]\nmon = []", "store.opening_hours.tue: missing, expected a list"),
        (MINIMAL + "[store.opening_hours]\nmon = ['8-20']", 'store.opening_hours.mon: found "8-20", expected "HH:MM-HH:MM"'),
        (MINIMAL + "[store.opening_hours]\nmon = ['08:00-08:00']", 'store.opening_hours.mon: found "08:00-08:00"'),
        (MINIMAL + "[store.opening_hours]\nmon = [8]", "store.opening_hours.mon: found 8"),
        (MINIMAL + "[store.opening_hours]\nmon = 'closed'", 'store.opening_hours.mon: found "closed", expected a list'),
        (MINIMAL + "[daemon]\nstate_dir = 'var'", 'daemon.state_dir: found "var", expected an absolute path'),
        (MINIMAL + "[daemon]\nlog_level = 'loud'", 'daemon.log_level: found "loud"'),
        (MINIMAL + "[daemon]\nmetrics_listen = '0.0.0.0:9464'", 'daemon.metrics_listen: found "0.0.0.0:9464", expected a loopback address'),
        (MINIMAL + "[daemon]\nmetrics_listen = '127.0.0.1:0'", "daemon.metrics_listen: found"),
        (MINIMAL + "[daemon]\nmetrics_listen = '127.0.0:1'", "daemon.metrics_listen: found"),
        (MINIMAL + "[daemon]\nmetrics_listen = 9464", "daemon.metrics_listen: found 9464"),
        (MINIMAL + f"[daemon]\ncontrol_socket = '/{'a' * 107}'", "daemon.control_socket: found a path of 108 bytes, expected at most 107"),
        (MINIMAL + "[hq]\nmode = 'none'", 'price_source: found "hq", expected "file" where hq.mode is "none"'),
        (MINIMAL + "[hq]\ntopic_prefix = 'shop.eu/1'", 'hq.topic_prefix: found "shop.eu/1", expected levels'),
        (MINIMAL + "[hq]\ntopic_prefix = 'rs/+/1'", "hq.topic_prefix: found"),
        (MINIMAL + "[hq]\ntopic_prefix = 'rs/'", "hq.topic_prefix: found"),
        (MINIMAL + "[guard]\ndwell_minutes = -1", "guard.dwell_minutes: found -1, expected a number from 0 to 1440"),
        (MINIMAL + "[guard]\ndwell_minutes = nan", "guard.dwell_minutes: found nan"),
        (MINIMAL + "[guard]\ndwell_minutes = inf", "guard.dwell_minutes: found inf"),
        (MINIMAL + "[guard]\ndwell_minutes = '2 h'", 'guard.dwell_minutes: found "2 h"'),
        (MINIMAL + "[guard]\naccept_inferred = 1", "guard.accept_inferred: found 1, expected true or false"),
        (
            MINIMAL + "[guard.rise_binds_at]\noepl = 'sure'",
            'guard.rise_binds_at.oepl: found "sure", expected "inferred" or "shown" or "person"',
        ),
        (MINIMAL + "[guard.rise_binds_at]\npaper = 'shown'", "guard.rise_binds_at.paper: unknown key, expected one of oepl"),
        (MINIMAL + "[guard]\nquote_valid_minutes = 0", "guard.quote_valid_minutes: found 0"),
        (
            MINIMAL + "[labels]\nretry_after_minutes = 90\nretry_after_max_minutes = 60",
            "labels.retry_after_max_minutes: found 60, expected at least",
        ),
        (MINIMAL + "[labels]\ndefault_template = '../x'", "labels.default_template: found"),
        (MINIMAL + "[render]\nworkers = 0", "render.workers: found 0, expected a whole number from 1 to 8"),
        (MINIMAL + "[lane]\nid = 'a'", "lane: found a table, expected tables written [[lane]]"),
        (MINIMAL + "[[lane]]\nid = 'a'", "lane[1].socket: missing, expected an absolute path"),
        (MINIMAL + LANE + "listen = '10.0.0.5'", 'lane[1].listen: found "10.0.0.5", expected an address of this machine and a port'),
        (MINIMAL + LANE + "listen = '0.0.0.0:7443'", "lane[1].listen: found"),
        (MINIMAL + LANE + "listen = '224.0.0.1:7443'", "lane[1].listen: found"),
        (MINIMAL + LANE + "listen = '10.0.0.5:0'", "lane[1].listen: found"),
        (MINIMAL + LANE + "listen = '10.0.0.500:7443'", "lane[1].listen: found"),
        (MINIMAL + LANE + "uids = []", "lane[1].uids: found a list of 0, expected a list of user numbers"),
        (MINIMAL + LANE + "uids = ['till']", "lane[1].uids: found a list of 1"),
        (MINIMAL + LANE + "uids = [-1]", "lane[1].uids: found a list of 1"),
        (MINIMAL + LANE + LANE, 'lane[2].id: found "a", expected another id'),
        (MINIMAL + LANE + LANE.replace("id = 'a'", "id = 'b'"), 'lane[2].socket: found "/tmp/a", expected another path: lane[1].socket'),
        (MINIMAL + "[daemon]\ncontrol_socket = '/tmp/a'\n" + LANE, 'lane[1].socket: found "/tmp/a", expected another path: daemon.control'),
        (MINIMAL + "".join(LANE.replace("a'", f"{n}'") for n in range(65)), "lane: found 65 tables, expected at most 64"),
        (MINIMAL + RADIO + "channel = 26", "radio[1].channel: found 26, expected one of 11, 15, 20, 25"),
        (MINIMAL + RADIO + "mac = '12'", 'radio[1].mac: found "12", expected 16 hex digits'),
        (MINIMAL + RADIO + "kind = 'ble'", 'radio[1].kind: found "ble", expected "oepl"'),
        (MINIMAL + RADIO + RADIO, 'radio[2].name: found "a", expected another name'),
        (MINIMAL + RADIO + RADIO.replace("name = 'a'", "name = 'b'"), 'radio[2].device: found "/dev/a", expected another path: radio "a"'),
        (MINIMAL + "".join(f"[[radio]]\nname = '{n}'\ndevice = '/dev/{n}'\nmac = '{'0' * 16}'\n" for n in (1, 2)), "radio[2].mac: found"),
        (MINIMAL + '"a\\nb" = 1', "store.a\\nb: unknown key"),
        ("price_source = ", "not valid TOML: Invalid value (at "),
        ("a = 1\na = 2", "not valid TOML: Cannot overwrite a value"),
        ("a = 1\n\nb", "(at "),
    ],
)
def test_a_mistake_is_one_line_with_key_found_and_expected(text: str, expected: str) -> None:
    assert expected in error_of(text)


def test_a_long_wrong_value_does_not_fill_the_screen() -> None:
    assert len(error_of(MINIMAL.replace('"s-1"', f'"{"x" * 10_000}"'))) < FOUND_CHARS_MAX + 100


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.toml: cannot be read: No such file"):
        load(tmp_path / "nope.toml")


def test_a_file_that_is_not_text_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.toml"
    file.write_bytes(b'a = 1\nb = "\xe9"\n')
    with pytest.raises(ConfigError, match="line 2: not UTF-8 text"):
        load(file)


def test_a_file_of_megabytes_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "big.toml"
    file.write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="larger than 1048576 bytes"):
        load(file)


def mistake_in(text: str) -> str:
    """The message for a wrong configuration, empty for a right one; any other exception is a fault of the parser."""
    try:
        parse(text, "shop.toml")
    except ConfigError as error:
        return str(error)
    return ""


KEYS = re.findall(r"^#? ?([a-z_]+) = ", (Path(__file__).resolve().parents[2] / "config.toml").read_text("utf-8"), re.MULTILINE)
TOML_VALUES = st.one_of(
    st.sampled_from(["true", "1", "-1", "0.5", "nan", "[]", "[1]", "{}", "'x'", "''", "1979-05-27", "07:32:00", "[[]]", "{a={}}"]),
    st.integers().map(str),
)


@given(
    section=st.sampled_from(["store", "store.opening_hours", "daemon", "hq", "guard", "labels", "render", "[lane]", "[radio]"]),
    key=st.sampled_from(KEYS),
    value=TOML_VALUES,
)
def test_no_value_anywhere_brings_anything_but_a_config_error(section: str, key: str, value: str) -> None:
    assert "\n" not in mistake_in(f'price_source = "hq"\n[{section}]\n{key} = {value}\n')
    assert "\n" not in mistake_in(f"{MINIMAL}{key}_ = {value}\n")


@given(st.text(max_size=200))
def test_no_text_brings_anything_but_a_config_error(text: str) -> None:
    assert "\n" not in mistake_in(text)


def test_a_second_currency_and_a_folder_of_templates() -> None:
    extra = '[labels]\ntemplates = "/etc/shelfd/templates"\n[store.second_currency]\ncode = "BGN"\nrate = "1.95583"\n'
    config = parse(MINIMAL + extra, "shop.toml")
    assert config.store.second_currency is not None
    assert config.store.second_currency.converted(100, 2) == 196
    assert config.labels.templates == Path("/etc/shelfd/templates")
    assert "rate" in error_of(MINIMAL + extra.replace("1.95583", "1.96"))
