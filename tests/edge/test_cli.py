"""The command line: what it sends to the daemon, what it prints, and that a mistake is one line with the right exit code."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

import edge
import edge.demo
from edge.cli import main
from edge.config import Config, ConfigError
from protocols.jsonrpc import ErrorCode, Request, RpcError, decode_request, encode_error, encode_result

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


@dataclass
class Daemon:
    """Answers every call with `answer` and remembers what it was asked. `answer` None hangs up instead."""

    path: Path
    answer: object = field(default_factory=dict)
    calls: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # the test is over
                return
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    request = decode_request(line.rstrip(b"\n"))
                    assert isinstance(request, Request)
                    self.calls.append((request.method, request.params))
                    if self.answer is None:
                        break
                    if isinstance(self.answer, RpcError):
                        connection.sendall(encode_error(request.request_id, self.answer))
                    else:
                        connection.sendall(encode_result(request.request_id, self.answer))


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    fake = Daemon(tmp_path / "control.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(fake.path))
        listener.listen()
        thread = threading.Thread(target=fake.serve, args=(listener,))
        thread.start()
        yield fake
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    file = tmp_path / "shop.toml"
    file.write_text(f'price_source = "hq"\n{STORE}[daemon]\ncontrol_socket = "{tmp_path}/control.sock"\n')
    return file


Output = pytest.CaptureFixture[str]


def refused(capsys: Output, *words: str) -> tuple[int, str]:
    """The exit code and the one line on stderr of a command that fails."""
    code = main(words)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("shelfd: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return code, err.removeprefix("shelfd: ").rstrip("\n")


# --- usage


@pytest.mark.parametrize("words", [["--help"], ["run", "-h"], ["label", "bind", "--help"], ["hold", "release", "--help"]])
def test_help_goes_to_stdout_in_short_lines(capsys: Output, words: list[str]) -> None:
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "Usage: shelfd" in out
    assert max(map(len, out.splitlines())) <= 80


def test_help_groups_the_commands(capsys: Output) -> None:
    main(["--help"])
    out = capsys.readouterr().out
    places = [out.index(word) for word in ("The store", " status ", "Prices", " import ", "Labels and radios", " render ")]
    assert places == sorted(places)


def test_no_words_print_the_help(capsys: Output) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert "Usage: shelfd" in out
    assert err == ""


def test_version(capsys: Output) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"shelfd {edge.__version__}\n"


@pytest.mark.parametrize(
    "words, text",
    [
        (["chek"], "No such command 'chek'; see: shelfd --help"),
        (["status", "--loud"], "No such option: --loud; see: shelfd status --help"),
        (["label", "bind", "X"], "Missing argument 'ITEM'; see: shelfd label bind --help"),
        (["hold", "release", "7"], "Missing option '--person'; see: shelfd hold release --help"),
        (["render", "1", "--scale", "99"], "Invalid value for '--scale'"),
        (["demo", "--seconds", "soon"], "Invalid value for '--seconds'"),
        (["demo", "--seconds", "0"], "--seconds: found 0, expected a number above 0"),
        (["demo", "--speed", "0.5"], "--speed: found 0.5, expected a number from 1 to 1000"),
        (["label", "bind", "X", "1", "--place", "3/2"], '--place: found "3/2", expected aisle/bay/shelf/slot such as 3/2/4/1'),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys: Output, words: list[str], text: str) -> None:
    code, line = refused(capsys, *words)
    assert code == 2
    assert text in line


# --- configuration


def test_check_config_says_what_it_found(capsys: Output, project_root: Path) -> None:
    assert main(["check-config", str(project_root / "config.toml")]) == 0
    assert capsys.readouterr().out == f"{project_root}/config.toml: good: store demo-1, 2 lanes, 1 radio\n"


def test_check_config_names_file_key_and_what_was_expected(capsys: Output, config_file: Path) -> None:
    config_file.write_text(config_file.read_text().replace("currency =", "curency ="))
    assert refused(capsys, "check-config", str(config_file)) == (2, f'{config_file}: store.curency: unknown key, did you mean "currency"?')


def test_debug_lets_the_error_through(config_file: Path) -> None:
    with pytest.raises(ConfigError):
        main(["--debug", "check-config", str(config_file.with_name("nope.toml"))])


# --- the daemon


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Config, float, Path | None]]:
    """What `edge.app.main` was called with."""
    calls: list[tuple[Config, float, Path | None]] = []

    def start(config: Config, *, time_scale: float, sim_clock: Path | None) -> int:
        calls.append((config, time_scale, sim_clock))
        return 7

    monkeypatch.setattr(edge, "app", SimpleNamespace(main=start), raising=False)
    return calls


RADIO = "[[radio]]\nname = 'ceiling'\ndevice = '/dev/x'\n"


def test_run_starts_the_daemon_and_passes_its_exit_code(config_file: Path, started: list[tuple[Config, float, Path | None]]) -> None:
    assert main(["run", "--config", str(config_file)]) == 7
    ((config, scale, clock),) = started
    assert (config.source, scale, clock) == (str(config_file), 1.0, None)


def test_scaled_time_runs_where_all_radios_are_simulated(config_file: Path, started: list[tuple[Config, float, Path | None]]) -> None:
    config_file.write_text(config_file.read_text() + RADIO + "simulated = true\n")
    assert main(["run", "--config", str(config_file), "--time-scale", "20", "--sim-clock", "/tmp/c"]) == 7
    assert started[0][1:] == (20.0, Path("/tmp/c"))


@pytest.mark.parametrize("option", [["--time-scale", "20"], ["--sim-clock", "/tmp/c"]])
@pytest.mark.parametrize("radio, why", [(RADIO, 'radio "ceiling" is real'), ("", "no radio is configured")])
def test_scaled_time_is_refused_in_a_real_store(
    capsys: Output, config_file: Path, started: list[tuple[Config, float, Path | None]], option: list[str], radio: str, why: str
) -> None:
    config_file.write_text(config_file.read_text() + radio)
    code, line = refused(capsys, "run", "--config", str(config_file), *option)
    assert code == 2
    assert line == f"{option[0]} is only for a store whose radios are all simulated: in {config_file} {why}"
    assert not started


@pytest.mark.parametrize("scale", ["0", "-1", "1001", "nan"])
def test_a_senseless_time_scale_is_refused(
    capsys: Output, config_file: Path, started: list[tuple[Config, float, Path | None]], scale: str
) -> None:
    config_file.write_text(config_file.read_text() + RADIO + "simulated = true\n")
    code, line = refused(capsys, "run", "--config", str(config_file), "--time-scale", scale)
    assert code == 2
    assert line.startswith(f"--time-scale: found {scale}, expected a number above 0")
    assert not started


def test_demo_passes_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, object]] = []

    def run(**options: object) -> int:
        calls.append(options)
        return 0

    monkeypatch.setattr(edge.demo, "main", SimpleNamespace(run=run), raising=False)
    assert main(["demo", "--seconds", "60", "--json", "out.json"]) == 0
    assert calls == [{"seconds": 60.0, "json_path": Path("out.json"), "speed": 60.0}]


# --- calls over the control socket


def test_the_socket_comes_from_the_configuration(daemon: Daemon, config_file: Path) -> None:
    assert main(["--config", str(config_file), "status"]) == 0
    assert daemon.calls == [("status", {})]


@pytest.mark.parametrize(
    "words, method, params",
    [
        (["label", "list"], "label.list", {}),
        (["radio", "list"], "radio.list", {}),
        (["hold", "list"], "hold.list", {}),
        (["label", "bind", "L1", "7", "8", "--by", "ann"], "label.bind", {"label": "L1", "items": ["7", "8"], "by": "ann"}),
        (
            ["label", "bind", "L1", "7", "--by", "ann", "--template", "big", "--place", "3/2/4/1"],
            "label.bind",
            {
                "label": "L1",
                "items": ["7"],
                "by": "ann",
                "template": "big",
                "place": {"aisle": "3", "bay": "2", "shelf": "4", "slot": "1"},
            },
        ),
        (["label", "bind", "t1", "7", "--by", "a", "--paper"], "label.bind", {"label": "t1", "items": ["7"], "by": "a", "paper": True}),
        (["label", "unbind", "L1", "--by", "ann"], "label.unbind", {"label": "L1", "by": "ann"}),
        (["hold", "release", "7", "8", "--person", "ann"], "hold.release", {"ids": ["7", "8"], "person": "ann"}),
        (["hold", "discard", "7", "--person", "ann"], "hold.discard", {"ids": ["7"], "person": "ann"}),
    ],
)
def test_each_command_is_one_call(daemon: Daemon, words: list[str], method: str, params: dict[str, object]) -> None:
    assert main(["--socket", str(daemon.path), *words]) == 0
    assert daemon.calls == [(method, params)]


def test_bind_names_the_login_when_nobody_is_named(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "bob")
    main(["--socket", str(daemon.path), "label", "bind", "L1", "7"])
    assert daemon.calls[0][1]["by"] == "bob"


def test_enrol_sends_the_file_as_it_is(daemon: Daemon, tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "enrol.json"
    file.write_text('{"store": "s-1", "partition": 7}')
    daemon.answer = {"store": "s-1"}
    assert main(["--socket", str(daemon.path), "enrol", str(file)]) == 0
    assert daemon.calls == [("enrol", {"store": "s-1", "partition": 7})]
    assert capsys.readouterr().out == "enrolled s-1\n"


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_an_enrolment_file_that_is_none_is_named(daemon: Daemon, tmp_path: Path, capsys: Output, text: str) -> None:
    file = tmp_path / "enrol.json"
    file.write_text(text)
    code, line = refused(capsys, "--socket", str(daemon.path), "enrol", str(file))
    assert code == 2
    assert line.startswith(f"{file}: ")
    assert not daemon.calls


def test_a_missing_input_file_is_named(daemon: Daemon, capsys: Output) -> None:
    assert refused(capsys, "--socket", str(daemon.path), "import", "/nope.csv") == (
        2,
        "/nope.csv: cannot be read: No such file or directory",
    )


def test_render_writes_the_picture(daemon: Daemon, tmp_path: Path, capsys: Output) -> None:
    daemon.answer = {"png_b64": base64.b64encode(b"picture").decode()}
    file = tmp_path / "label.png"
    assert main(["--socket", str(daemon.path), "render", "7", "--scale", "2", "-o", str(file)]) == 0
    assert daemon.calls == [("render", {"item_id": "7", "scale": 2})]
    assert file.read_bytes() == b"picture"
    assert capsys.readouterr().out == f"wrote {file}\n"


def test_render_names_the_file_after_the_item_and_stays_in_the_folder(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answer = {"png_b64": "AAAA"}
    monkeypatch.chdir(tmp_path)
    assert main(["--socket", str(daemon.path), "render", "../7"]) == 0
    assert (tmp_path / "___7.png").exists()


def test_a_refusal_is_the_daemons_words_and_exit_code_1(daemon: Daemon, capsys: Output, tmp_path: Path) -> None:
    daemon.answer = RpcError(ErrorCode.REFUSED, 'row 3: price: found "-1", expected minor units')
    file = tmp_path / "prices.csv"
    file.write_text("x")
    code, line = refused(capsys, "--socket", str(daemon.path), "import", str(file))
    assert (code, line) == (1, f'{file}: row 3: price: found "-1", expected minor units')


def test_a_daemon_that_is_not_running_is_said_with_its_socket(capsys: Output, tmp_path: Path) -> None:
    code, line = refused(capsys, "--socket", str(tmp_path / "none.sock"), "status")
    assert code == 1
    assert line == f"{tmp_path}/none.sock: nobody is listening there; is the daemon running? systemctl status shelfd"


def test_a_daemon_that_hangs_up_leaves_the_outcome_open(daemon: Daemon, capsys: Output) -> None:
    daemon.answer = None
    code, line = refused(capsys, "--socket", str(daemon.path), "hold", "release", "7", "--person", "ann")
    assert code == 1
    assert "whether it was done is not known" in line


# --- output


def test_lists_are_tab_separated_in_a_pipe(daemon: Daemon, capsys: Output) -> None:
    daemon.answer = {
        "labels": [{"state": "proven", "label": "L1", "items": ["7", "8"], "place": None}, {"label": "L2", "battery_mv": 2900}]
    }
    assert main(["--socket", str(daemon.path), "label", "list"]) == 0
    assert capsys.readouterr().out == "label\titems\tplace\tstate\tbattery_mv\nL1\t7, 8\t-\tproven\t-\nL2\t-\t-\t-\t2900\n"


def test_lists_are_tables_on_a_terminal(daemon: Daemon, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    daemon.answer = {"radios": [{"name": "[ceiling]", "state": "up"}]}
    assert main(["--socket", str(daemon.path), "radio", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "name" in lines[0]
    assert "[ceiling]" in lines[1]


def test_an_empty_list_says_so(daemon: Daemon, capsys: Output) -> None:
    daemon.answer = {"holds": []}
    assert main(["--socket", str(daemon.path), "hold", "list"]) == 0
    assert capsys.readouterr().out == "nothing is held\n"


def test_status_prints_values_parts_and_tables(daemon: Daemon, capsys: Output) -> None:
    daemon.answer = {
        "version": "1",
        "hq": {"connected": True, "outbox": {"events": 3}},
        "radios": [{"name": "a", "state": "up"}],
        "lanes": [],
    }
    assert main(["--socket", str(daemon.path), "status"]) == 0
    assert capsys.readouterr().out == (
        "version  1\nlanes    -\n\nhq\n  connected      yes\n  outbox events  3\n\nradios\nname\tstate\na\tup\n"
    )


def test_status_as_json_is_the_answer(daemon: Daemon, capsys: Output) -> None:
    daemon.answer = {"hq": {"name": "Käse"}}
    assert main(["--socket", str(daemon.path), "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == daemon.answer


def test_control_characters_of_an_answer_do_not_reach_the_terminal(daemon: Daemon, capsys: Output) -> None:
    daemon.answer = {"name": "a\x1b[2Jb\nc"}
    assert main(["--socket", str(daemon.path), "status"]) == 0
    assert capsys.readouterr().out == "name  a [2Jb c\n"


# --- stock


def test_stock_is_booked_and_listed(daemon: Daemon, capsys: Output) -> None:
    daemon.answer = {"item": "4711", "on_hand": 24, "id": "x"}
    for words, method, params in (
        (["receive", "4711", "24"], "stock.receive", {"units": 24, "by": "Ann"}),
        (["shrink", "4711", "1", "--reason", "broken"], "stock.shrink", {"units": 1, "by": "Ann", "reason": "broken"}),
        (["count", "4711", "0"], "stock.count", {"units": 0, "by": "Ann"}),
    ):
        assert main(["--socket", str(daemon.path), "stock", *words, "--person", "Ann"]) == 0
        assert daemon.calls[-1] == (method, {"item": "4711"} | params)
        assert capsys.readouterr().out == "4711: 24 on hand\n"
    daemon.answer = {"holds": [], "differences": [{"item": "4711", "source": "scale-1", "observed": 3}], "cut": False}
    assert main(["--socket", str(daemon.path), "stock", "holds"]) == 0
    assert capsys.readouterr().out == "nothing is held\n"
    assert main(["--socket", str(daemon.path), "stock", "differences"]) == 0
    assert "scale-1" in capsys.readouterr().out
    assert main(["--socket", str(daemon.path), "stock", "differences", "--json"]) == 0
    assert '"observed": 3' in capsys.readouterr().out
