"""`shelfd restore` on a real folder: with the daemon stopped, and refused while it runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge import cli
from edge.state_lock import only_one
from edge.store.store import prepare
from tests.edge.shop import Entropy, HandClock

CONFIG = """
price_source = "hq"
[store]
id = "demo-01"
name = "Demo"
country = "DE"
locale = "de-DE"
currency = "EUR"
timezone = "Europe/Berlin"
tax_mode = "inclusive"
[daemon]
state_dir = "{folder}"
control_socket = "{folder}/control.sock"
[[lane]]
id = "lane-1"
socket = "{folder}/lane-1.sock"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    prepare(state / "shelfd.db", HandClock(), Entropy("old"))
    prepare(tmp_path / "copy.db", HandClock(), Entropy("copy"))
    file = tmp_path / "config.toml"
    file.write_text(CONFIG.format(folder=state))
    return file


def test_a_copy_takes_the_place_of_the_file_which_is_kept(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--config", str(config), "restore", str(config.parent / "copy.db")]) == 0
    said = capsys.readouterr().out
    assert "knows nothing after" in said
    kept = list((config.parent / "state").glob("shelfd.before-restore-*.db"))
    assert len(kept) == 1
    assert str(kept[0]) in said.replace("\n", "")


def test_a_running_daemon_keeps_its_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = only_one(config.parent / "state")
    try:
        assert cli.main(["--config", str(config), "restore", str(config.parent / "copy.db")]) == 1
    finally:
        os.close(lock)
    assert "another shelfd runs" in capsys.readouterr().err
    assert not list((config.parent / "state").glob("shelfd.before-restore-*"))


def test_what_is_no_copy_is_refused_in_one_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--config", str(config), "restore", str(config.parent / "none.db")]) == 1
    assert "not a store's file" in capsys.readouterr().err
