"""`shelfd render` without a daemon: pictures, the check of templates with a planted fault for each finding, the contact sheet."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from edge import template_check
from edge.cli import main
from edge.cli_render import ORDER, names
from edge.label_samples import EXTREMES, extreme
from render import scene, templates
from render.fields import SHIPPED, with_own
from render.marks import Run
from render.panels import panel

Output = pytest.CaptureFixture[str]

HEAD = 'version = 1\nneeds = ["name", "price"]\n[[layout]]\nwidth = 296\nheight = 128\n'
NAME = '[[layout.element]]\nkind = "text"\nfield = "name"\nx = 6\ny = 4\nwidth = 280\nheight = 30\nsize = 22\nsize_min = 12\n'
PRICE = '[[layout.element]]\nkind = "price"\nx = 150\ny = 60\nwidth = 140\nheight = 60\nsize = 80\nsize_min = 24\nfont = "bold"\n'
CODE = '[[layout.element]]\nkind = "barcode"\nx = 0\ny = 80\nwidth = 140\nheight = 40\nmodule_px = 1\n'


def size_of(file: Path) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size


def checked(tmp_path: Path, content: str, capsys: Output) -> tuple[int, str]:
    """Exit code and output of the check of one template."""
    (tmp_path / "own.toml").write_text(content)
    code = main(["render", "--check", "--folder", str(tmp_path)])
    out = capsys.readouterr()
    return code, out.out + out.err


# --- one picture


def test_a_template_is_drawn_without_a_daemon(tmp_path: Path, capsys: Output) -> None:
    file = tmp_path / "label.png"
    assert main(["render", "shelf", "--panel", "oepl-02", "--scale", "2", "--out", str(file)]) == 0
    assert size_of(file) == (800, 600)
    assert capsys.readouterr().out == f"wrote {file}\n"


def test_the_fields_of_an_item_or_of_a_label_come_from_a_file(tmp_path: Path) -> None:
    item = {"name": "Tee", "price_minor": 199}
    pictures = []
    for values in ({**item, "currency": "EUR", "locale": "de-DE"}, {"items": [item], "currency": "EUR", "locale": "de-DE"}):
        (tmp_path / "fields.json").write_text(json.dumps(values))
        assert main(["render", "shelf", "--fields", str(tmp_path / "fields.json"), "-o", str(tmp_path / "label.png")]) == 0
        pictures.append((tmp_path / "label.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_another_page_is_another_picture(tmp_path: Path) -> None:
    for page in ("0", "1"):
        assert main(["render", "shelf", "--page", page, "-o", str(tmp_path / f"{page}.png")]) == 0
    assert (tmp_path / "0.png").read_bytes() != (tmp_path / "1.png").read_bytes()


def test_a_stores_own_template_stands_before_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "shelf.toml").write_text(HEAD + NAME)
    assert main(["render", "shelf", "--folder", str(tmp_path), "-o", str(tmp_path / "own.png")]) == 0
    assert main(["render", "shelf", "-o", str(tmp_path / "shipped.png")]) == 0
    assert (tmp_path / "own.png").read_bytes() != (tmp_path / "shipped.png").read_bytes()


@pytest.mark.parametrize(
    "words, code, line",
    [
        (["render"], 2, "found 0 words, expected one ITEM or TEMPLATE"),
        (["render", "shelf", "--panel", "oepl-00"], 1, "has no layout for oepl-00"),
        (["render", "shelf", "--panel", "nonsense"], 1, "unknown panel 'nonsense'"),
        (["render", "shelf", "--page", "5"], 1, "no such page"),
        (["render", "shelf", "--fields", "/nope.json"], 2, "/nope.json: cannot be read"),
        (["render", "shelf", "--folder", "/nope"], 2, "--folder: found /nope, expected a folder"),
        (["render", "shelf", "-o", "/nope/label.png"], 2, "/nope/label.png: cannot be written"),
        (["render", "--sheet", "/nope/sheet.png", "unassigned"], 2, "/nope/sheet.png: cannot be written"),
        (["render", "--sheet", "sheet.png", "nonsense"], 1, "unknown template 'nonsense'"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], code: int, line: str, capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == code
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "content, line",
    [
        ("{", "not valid JSON"),
        ("[]", "expected a JSON object"),
        ('{"name": "Tea", "prize": 1}', "unknown field 'prize'"),
        ('{"name": "Tea", "price_minor": 0, "currency": "EUR"}', "price_minor: 0, expected a whole number"),
    ],
)
def test_a_wrong_fields_file_is_named(content: str, line: str, capsys: Output, tmp_path: Path) -> None:
    file = tmp_path / "fields.json"
    file.write_text(content)
    assert main(["render", "shelf", "--fields", str(file), "-o", str(tmp_path / "label.png")]) in (1, 2)
    error = capsys.readouterr().err
    assert error.startswith(f"shelfd: {file}: ")
    assert line in error


def test_the_command_loads_what_draws_only_to_draw(project_root: Path) -> None:
    program = "import sys, edge.cli, edge.cli_render; print(*sorted({'numba', 'numpy', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=project_root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# --- the check


def test_the_shipped_templates_draw_every_sample_and_the_known_warnings_are_all(capsys: Output) -> None:
    """On 111 ppi two pixels a module would take the width of the price; yellow as the only third colour is too faint for white."""
    report = template_check.check(names(SHIPPED), SHIPPED)
    assert not report.has_errors
    left = [str(finding) for finding in report.findings if "white and yellow on each other" not in finding.problem]
    assert len(left) == 1
    assert "shelf.toml" in left[0] and "ean: modules are 0.229 mm on oepl-01 (111 ppi), less than 0.264 mm" in left[0]
    assert {size.template for size in report.sizes} == set(ORDER)
    sizes = {(size.template, size.width): size for size in report.sizes if size.page == 0}
    for template in ("shelf", "reduced", "promotion", "multi_buy", "weighed"):
        for width in (400, 800):
            found = sizes[template, width].digit_mm
            assert found is not None and found >= template_check.DIGIT_MASSACHUSETTS_MM
    shelf = sizes["shelf", 296]
    assert shelf.digit_mm == pytest.approx(60 * 25.4 / 111)
    assert [(symbology, round(module, 4)) for symbology, module in shelf.codes] == [("ean", 0.2288)]


def test_check_prints_a_row_for_each_layout_and_panel(capsys: Output) -> None:
    assert main(["render", "--check", "unassigned"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t")[:3] == ["template", "page", "panel"]
    assert len(lines) == 1 + 5 + 1  # header, four sizes of which one comes in two resolutions, the sum
    assert lines[-1] == "0 errors, 0 warnings"


def test_a_good_template_of_a_store_has_no_findings(tmp_path: Path, capsys: Output) -> None:
    code, out = checked(tmp_path, HEAD + NAME + PRICE, capsys)
    assert (code, out.splitlines()[-1]) == (0, "0 errors, 0 warnings")
    assert "shelf" not in out  # the shipped ones are not checked again


@pytest.mark.parametrize(
    "content, expected",
    [
        (HEAD + NAME + CODE.replace("module_px = 1", "module_px = 0.5"), "own.toml:21: layout 1, element 2 (barcode), module_px: 0.5"),
        (
            HEAD + NAME + PRICE.replace("width = 140", "width = 150"),
            "own.toml:17: layout 1, element 2 (price), x, y, width, height: the box ends",
        ),
        (HEAD + PRICE.replace("width = 140", "width = 40"), "own.toml:6: layout 1 (296x128), element 1 (price): "),
        (HEAD + NAME + CODE.replace("width = 140", "width = 90"), "element 2 (barcode): item"),
        (HEAD + "oops", "own.toml:"),
    ],
)
def test_an_error_is_found_with_its_line_and_fails_the_check(content: str, expected: str, tmp_path: Path, capsys: Output) -> None:
    code, out = checked(tmp_path, content, capsys)
    assert code == 1
    assert [line for line in out.splitlines() if line.startswith("error: ") and expected in line], out


@pytest.mark.parametrize(
    "content, expected",
    [
        (HEAD + NAME + CODE, "ean: modules are 0.229 mm"),
        (HEAD + NAME + CODE + NAME.replace("y = 4", "y = 90"), "element 3 (text): "),
        (HEAD + NAME + CODE + NAME.replace("y = 4", "y = 90"), "element 2 (barcode): something lies in the code's quiet zone"),
        (HEAD + NAME.replace("size = 22\nsize_min = 12", "size = 9"), "the name's letters are"),
        (HEAD + NAME.replace("width = 280", "width = 60"), "even the typical text is cut"),
        (HEAD + NAME.replace('field = "name"', 'field = "name"\nink = "yellow"'), "white and yellow on each other cannot be read"),
        (HEAD.replace("296", "123") + NAME.replace("280", "100"), "no panel of the catalogue uses this layout of 123x128"),
        (HEAD.replace('"price"', '"second_price", "member_price"') + NAME, "no sample has all that it needs"),
    ],
)
def test_a_warning_is_found_and_the_check_goes_on(content: str, expected: str, tmp_path: Path, capsys: Output) -> None:
    code, out = checked(tmp_path, content, capsys)
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("warning: own.toml:") and expected in line], out


def test_an_unknown_template_is_an_error_of_the_check(capsys: Output) -> None:
    assert main(["render", "--check", "nonsense"]) == 1
    assert "error: template nonsense: unknown template 'nonsense'" in capsys.readouterr().err


def test_every_extreme_sample_shows_its_own_script_and_money() -> None:
    for name in EXTREMES:
        kind = panel("oepl-36")
        label = extreme(name, "shelf", kind.name)
        shown = " ".join(mark.text for mark in scene.build(label, templates.load("shelf"), kind).marks if isinstance(mark, Run))
        assert any(character.isdigit() for character in shown), name


# --- the sheet


def test_the_sheet_has_every_size_of_a_template_in_three_palettes(tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    assert main(["render", "--sheet", str(file), "unassigned", "reduced"]) == 0
    with Image.open(io.BytesIO(file.read_bytes())) as image:
        assert image.width > 3 * (250 + 296 + 400 + 400)
        colours = [colour for _, colour in image.convert("RGB").getcolors(256) or ()]
    assert all(colour in colours for colour in ((255, 255, 255), (0, 0, 0), (255, 0, 0)))


def test_own_templates_are_known_by_their_folder(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(HEAD + NAME)
    assert names(with_own(tmp_path)) == [*ORDER, "own"]
