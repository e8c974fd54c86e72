"""The frame of the project: locks, version, licence, what the README promises."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import edge

LOCKS = ("runtime", "demo", "dev", "bench", "build", "tools")


def read(path: Path) -> str:
    return path.read_text("utf-8")


def pins(lock: str) -> dict[str, str]:
    """Package to version, of one lock."""
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", lock, re.MULTILINE))


def lock_problems(lock: str) -> list[str]:
    """What a lock may not be: a requirement without a hash, or anything that says where packages come from."""
    problems = []
    for requirement in re.split(r"\n(?=\S)", lock.strip()):
        first = requirement.split("\n", 1)[0]
        if not re.match(r"[a-z0-9][a-z0-9._-]*==\S+( ; [^\\]+)? \\$", first):
            problems.append(f"not a pinned requirement: {first}")
        elif not all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in requirement.split("\n")[1:]):
            problems.append(f"not hashes: {first}")
    return problems


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned_with_hashes_and_no_address(project_root: Path, name: str) -> None:
    assert lock_problems(read(project_root / "requirements" / f"{name}.txt")) == []


@pytest.mark.parametrize(
    "lock",
    [
        "rich==15.0.0",
        "rich>=15 \\\n    --hash=sha256:" + "0" * 64,
        "--index-url somewhere\nrich==15.0.0 \\\n    --hash=sha256:" + "0" * 64,
        "rich==15.0.0 \\\n    --hash=sha256:" + "0" * 64 + "\n    # from somewhere",
        "rich @ file:///tmp/rich.whl \\\n    --hash=sha256:" + "0" * 64,
    ],
)
def test_a_planted_fault_in_a_lock_is_found(lock: str) -> None:
    assert lock_problems(lock)


@pytest.mark.parametrize("name", ["demo", "dev", "bench"])
def test_every_set_runs_on_the_versions_of_the_service(project_root: Path, name: str) -> None:
    folder = project_root / "requirements"
    assert pins(read(folder / "runtime.txt")).items() <= pins(read(folder / f"{name}.txt")).items()


def test_the_locks_hold_what_the_project_asks_for(project_root: Path) -> None:
    project = tomllib.loads(read(project_root / "pyproject.toml"))
    asked = {
        "runtime": project["project"]["dependencies"],
        "demo": project["project"]["optional-dependencies"]["demo"],
        **project["dependency-groups"],
    }
    for name, requirements in asked.items():
        locked = pins(read(project_root / "requirements" / f"{name}.txt"))
        wanted = {re.split(r"[\[<>=~! ]", requirement)[0] for requirement in requirements}
        assert wanted <= locked.keys(), name


def test_the_sqlite_library_is_newer_than_the_wal_reset_fault(project_root: Path) -> None:
    version = pins(read(project_root / "requirements" / "runtime.txt"))["apsw"]
    assert tuple(map(int, version.split(".")))[:3] >= (3, 51, 3)


def test_the_changelog_has_this_version(project_root: Path) -> None:
    assert f"\n## {edge.__version__}" in read(project_root / "CHANGELOG.md")


def test_the_licence_is_the_one_that_is_declared(project_root: Path) -> None:
    assert tomllib.loads(read(project_root / "pyproject.toml"))["project"]["license"] == "Apache-2.0"
    assert "Apache License" in read(project_root / "LICENSE").splitlines()[0] + read(project_root / "LICENSE").splitlines()[1]


def test_the_readme_begins_with_the_two_commands(project_root: Path) -> None:
    first_block = read(project_root / "README.md").split("```")[1]
    assert re.findall(r"^make \w+", first_block, re.MULTILINE) == ["make demo", "make test"]


def test_every_make_target_of_the_documents_exists(project_root: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(project_root / "Makefile"), re.MULTILINE))
    documents = [project_root / "README.md", project_root / ".ci" / "run", *(project_root / "docs").rglob("*.md")]
    named = {name for file in documents for name in re.findall(r"(?:`|^|sudo )make ([a-z-]+)", read(file), re.MULTILINE)}
    assert named
    assert named <= targets


def test_every_link_of_the_documents_leads_somewhere(project_root: Path) -> None:
    for file in [project_root / "README.md", *(project_root / "docs" / "how-to").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(file)):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


@pytest.mark.parametrize("script", [".ci/run", "systemd/install.sh", "systemd/verify.sh", "systemd/debian-package.sh"])
def test_scripts_are_executable_and_parse(project_root: Path, script: str) -> None:
    path = project_root / script
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_the_unit_runs_what_the_installation_places(project_root: Path) -> None:
    unit = read(project_root / "systemd" / "shelfd.service")
    assert "\nExecStart=/opt/shelfd/venv/bin/shelfd run --config /etc/shelfd/config.toml\n" in unit
    for line in ("Type=notify", "WatchdogSec=15", "Restart=always", "StartLimitIntervalSec=0", "StateDirectoryMode=0700"):
        assert f"\n{line}\n" in unit
