"""`make install` and `make uninstall`, staged: files, the kept configuration, upgrades, and the copy of the data.

A stand-in for uv builds an empty environment, so that nothing is downloaded; CI stages the real thing and verifies its unit.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import apsw
import pytest

FAKE_UV = """#!/bin/sh
# uv venv ... DIR makes an environment whose shelfd accepts every configuration but "broken"
for last; do :; done
if [ "$1" = venv ]; then
    mkdir -p "$last/bin" "$last/lib/python3.11/site-packages"
    ln -s /bin/true "$last/bin/python"
    printf '#!/bin/sh\\n! grep -q broken "$2"\\n' > "$last/bin/shelfd"
    chmod +x "$last/bin/shelfd"
fi
"""

# What must not run when files are only staged.
LIVE_COMMANDS = ("systemctl", "systemd-sysusers", "systemd-tmpfiles", "runuser", "useradd", "groupadd")


class Stage:
    """A staged root, and the scripts run on it."""

    def __init__(self, folder: Path, project_root: Path) -> None:
        self.root = folder / "root"
        self.log = folder / "live-commands"
        self._script = project_root / "systemd" / "install.sh"
        tools = folder / "tools"
        tools.mkdir()
        self._write(tools / "uv", FAKE_UV)
        self._write(tools / "date", "#!/bin/sh\nwc -l < $STAGE_COUNT | tr -d ' '; echo >> $STAGE_COUNT\n")
        for command in LIVE_COMMANDS:
            self._write(tools / command, f'#!/bin/sh\necho {command} >> "{self.log}"\n')
        count = folder / "count"
        count.write_text("")
        self._environment = {
            "PATH": f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin",
            "UV": str(tools / "uv"),
            "DESTDIR": str(self.root),
            "STAGE_COUNT": str(count),
        }

    def run(self, action: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(self._script), action], env=self._environment, capture_output=True, text=True, check=False)

    def install(self) -> str:
        done = self.run("install")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def path(self, absolute: str) -> Path:
        return self.root / absolute.lstrip("/")

    def release(self) -> str:
        return str(self.path("/opt/shelfd/venv").readlink())

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)


@pytest.fixture
def stage(tmp_path: Path, project_root: Path) -> Stage:
    return Stage(tmp_path, project_root)


def test_staging_places_every_file_and_runs_nothing(stage: Stage, project_root: Path) -> None:
    stage.install()
    for absolute, source in {
        "/usr/local/lib/systemd/system/shelfd.service": "systemd/shelfd.service",
        "/usr/local/lib/sysusers.d/shelfd.conf": "systemd/shelfd.sysusers",
        "/usr/local/lib/tmpfiles.d/shelfd.conf": "systemd/shelfd.tmpfiles",
        "/etc/shelfd/config.toml": "config.toml",
        "/opt/shelfd/doc/README.md": "README.md",
    }.items():
        assert stage.path(absolute).read_bytes() == (project_root / source).read_bytes()
    assert stage.path("/opt/shelfd/venv/bin/shelfd").exists()
    assert stage.path("/usr/local/bin/shelfd").readlink() == Path("/opt/shelfd/venv/bin/shelfd")
    assert not stage.log.exists()


def test_a_changed_configuration_is_kept_and_the_sample_goes_beside_it(stage: Stage, project_root: Path) -> None:
    stage.install()
    config = stage.path("/etc/shelfd/config.toml")
    config.write_text("# the shop's\n")
    assert "kept" in stage.install()
    assert config.read_text() == "# the shop's\n"
    assert config.with_name("config.toml.new").read_bytes() == (project_root / "config.toml").read_bytes()


def test_an_unchanged_configuration_gets_no_sample(stage: Stage) -> None:
    stage.install()
    stage.install()
    assert not stage.path("/etc/shelfd/config.toml.new").exists()


def test_again_is_an_upgrade_that_keeps_one_release_to_go_back_to(stage: Stage) -> None:
    releases = []
    for _ in range(3):
        stage.install()
        releases.append(stage.release())
    assert len(set(releases)) == 3
    kept = {f"releases/{path.name}" for path in stage.path("/opt/shelfd/releases").iterdir()}
    assert kept == set(releases[1:])


def test_a_configuration_that_the_new_version_refuses_stops_the_upgrade_before_anything_changes(stage: Stage) -> None:
    stage.install()
    before = stage.release()
    stage.path("/etc/shelfd/config.toml").write_text("broken")
    unit = stage.path("/usr/local/lib/systemd/system/shelfd.service")
    unit.write_text("earlier")
    done = stage.run("install")
    assert done.returncode != 0
    assert "nothing was changed" in done.stderr
    assert stage.release() == before
    assert unit.read_text() == "earlier"
    assert [path.name for path in stage.path("/opt/shelfd/releases").iterdir()] == [before.removeprefix("releases/")]


def test_uninstall_leaves_data_and_configuration(stage: Stage) -> None:
    stage.install()
    data = stage.path("/var/lib/shelfd/shelfd.db")
    data.parent.mkdir(parents=True)
    data.write_text("sales")
    assert stage.run("uninstall").returncode == 0
    left = {path.relative_to(stage.root).as_posix() for path in stage.root.rglob("*") if not path.is_dir()}
    assert left == {"etc/shelfd/config.toml", "var/lib/shelfd/shelfd.db"}
    assert not stage.log.exists()


def test_uninstall_of_nothing_is_no_error(stage: Stage) -> None:
    assert stage.run("uninstall").returncode == 0


def test_another_word_is_refused(stage: Stage) -> None:
    assert stage.run("instal").returncode != 0


# --- the copy of the data


def back_up(project_root: Path, state: Path, release: str = "0.1.0-1") -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(project_root / "systemd" / "backup.py"), str(state), str(state / "backup"), release]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def read_rows(path: Path) -> list[object]:
    with apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY) as db:
        rows = db.execute("SELECT n FROM sale ORDER BY n").fetchall()
    db.close()
    return [row[0] for row in rows]


def make_database(path: Path, rows: int) -> apsw.Connection:
    db = apsw.Connection(str(path))
    db.execute("PRAGMA journal_mode = WAL; CREATE TABLE sale (n INTEGER)").fetchall()
    db.executemany("INSERT INTO sale VALUES (?)", [(n,) for n in range(rows)])
    return db


def test_the_copy_holds_what_is_still_in_the_journal(project_root: Path, tmp_path: Path) -> None:
    db = make_database(tmp_path / "shelfd.db", 100)
    assert (tmp_path / "shelfd.db-wal").stat().st_size > 0
    assert back_up(project_root, tmp_path).returncode == 0
    (copy,) = (tmp_path / "backup").iterdir()
    assert copy.name.startswith("shelfd.db.")
    assert copy.name.endswith(".0.1.0-1")
    assert read_rows(copy) == list(range(100))
    db.close()


def test_no_database_yet_is_nothing_to_copy(project_root: Path, tmp_path: Path) -> None:
    assert back_up(project_root, tmp_path).returncode == 0
    assert not (tmp_path / "backup").exists()


def test_a_damaged_database_stops_the_upgrade_and_leaves_no_copy(project_root: Path, tmp_path: Path) -> None:
    database = tmp_path / "shelfd.db"
    make_database(database, 5000).close()
    content = bytearray(database.read_bytes())
    content[4096 * 3 : 4096 * 6] = bytes(4096 * 3)
    database.write_bytes(content)
    done = back_up(project_root, tmp_path)
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert [path.name for path in (tmp_path / "backup").iterdir() if not path.name.endswith(".partial")] == []


def test_a_file_that_is_no_database_stops_the_upgrade(project_root: Path, tmp_path: Path) -> None:
    (tmp_path / "shelfd.db").write_bytes(b"not a database" * 1000)
    done = back_up(project_root, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("backup: ")
    assert done.stderr.count("\n") == 1


def test_only_the_last_copies_are_kept(project_root: Path, tmp_path: Path) -> None:
    make_database(tmp_path / "shelfd.db", 1).close()
    backup = tmp_path / "backup"
    backup.mkdir()
    for day in range(1, 6):
        (backup / f"shelfd.db.2026010{day}T000000Z.0.0.{day}").write_text("")
    assert back_up(project_root, tmp_path).returncode == 0
    names = sorted(path.name for path in backup.iterdir())
    assert names[:2] == ["shelfd.db.20260104T000000Z.0.0.4", "shelfd.db.20260105T000000Z.0.0.5"]
    assert len(names) == 3
