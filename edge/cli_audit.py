"""`shelfd audit`: what was said then, whether the evidence holds, a bundle of it, and whether prices are right now."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import typer

from edge.cli_tables import on_terminal, say, show_report, show_rows, warn
from edge.cli_words import instant, lane, money, offer
from edge.entry import EXIT_REFUSED, EXIT_USAGE, CliError

CHECK_TIMEOUT_S: Final = 7_200.0  # a chain of 400 days on a slow machine, with lanes let go first
DRAW_TIMEOUT_S: Final = 180.0  # pictures drawn by workers that have to compile their kernels
LINE_WORDS: Final = ("number", "item", "name", "label", "place", "label says", "lane says", "verdict", "why")  # on a terminal
PARTS: Final = (("labels", "no label of the item"), ("quotes_and_sales", "none near"), ("decisions", "none"))
LINE_COLUMNS: Final = ("number", "item", "name", "code", "label", "place", "quantity", "audience", "label_minor", "lane_minor", "verdict")


class Call(Protocol):
    """Asks the daemon (`edge.cli`). Raises CliError."""

    def __call__(
        self, context: typer.Context, method: str, params: Mapping[str, object], *, subject: str | None = None, timeout_s: float = 10.0
    ) -> dict[str, object]: ...


class Strata(StrEnum):
    AISLE = "aisle"
    CATEGORY = "category"
    NONE = "none"


JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def commands(call: Call) -> typer.Typer:
    """The commands, asking the daemon through `call`."""
    app = typer.Typer(help="What was said then; does the evidence hold.", no_args_is_help=True)

    @app.command("at")
    def at(
        context: typer.Context,
        item: Annotated[str, typer.Option("--item", metavar="ITEM", help="Item number, or a bar code.")],
        time: Annotated[str, typer.Option("--time", metavar="TIME", help="Such as 2026-01-31T14:02, in the store's zone.")],
        around: Annotated[int, typer.Option("--around", min=0, max=1440, metavar="MIN", help="Quotes and sales so near.")] = 15,
        pictures: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the labels' pictures there.", show_default=False)] = None,
        scale: Annotated[int, typer.Option(min=1, max=8, metavar="N", help="Pixels per dot of the panel.")] = 1,
        as_json: JsonOption = False,
    ) -> int | None:
        """What shelf and lane said of an item at an instant."""
        params: dict[str, object] = {"item": item, "time": time, "around_s": around * 60, "scale": scale}
        answer: dict[str, Any] = call(context, "audit.at", params, timeout_s=DRAW_TIMEOUT_S)
        saved = _save_pictures(pictures, answer["labels"])
        for label in answer["labels"]:
            label.pop("png_b64", None)
        if as_json:
            _say_json(answer)
        else:
            _show_then(answer)
        if saved is not None:
            warn(f"shelfd: {saved} pictures in {pictures}")
        return _complain(answer["trouble"])

    @app.command("verify")
    def verify(
        context: typer.Context,
        head: Annotated[list[str] | None, typer.Option(metavar="ENTRY:HASH", help="As HQ holds it; [INCARNATION:]ENTRY:HASH.")] = None,
        as_json: JsonOption = False,
    ) -> int | None:
        """Compute the whole chain again, and compare it with what HQ holds."""
        answer: dict[str, Any] = call(context, "audit.verify", {"heads": head or []}, timeout_s=CHECK_TIMEOUT_S)
        if as_json:
            _say_json(answer)
        else:
            older = {what: count for what, count in answer["older_rows"].items() if count}
            said = {"holds": not answer["problems"], **answer, "older_rows": older or "none"}
            show_report({key: value for key, value in said.items() if key != "trouble"})
        return _complain(answer["trouble"])

    @app.command("export")
    def export(
        context: typer.Context,
        file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
        since: Annotated[str, typer.Option("--from", metavar="TIME", help="Such as 2026-01-31, in the store's zone.")],
        until: Annotated[str, typer.Option("--to", metavar="TIME", help="The end of it.")],
    ) -> int | None:
        """Write a signed bundle that can be verified without shelfd."""
        return _export(call, context, file, since, until)

    @app.command("accuracy")
    def accuracy(
        context: typer.Context,
        sample: Annotated[int | None, typer.Option(min=1, max=1000, metavar="N", help="Draw N items: 50, 100.", show_default=False)] = None,
        seed: Annotated[str | None, typer.Option(metavar="TEXT", help="Draw the same again.", show_default=False)] = None,
        strata: Annotated[Strata, typer.Option(help="Spread the sample over these.")] = Strata.AISLE,
        csv_file: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the list there.", show_default=False)] = None,
        as_json: JsonOption = False,
    ) -> int | None:
        """Compare every label's proven price with the lane's now; draw an inspection sample."""
        params: dict[str, object] = {"strata": str(strata)}
        params |= {key: value for key, value in (("sample", sample), ("seed", seed)) if value is not None}
        answer: dict[str, Any] = call(context, "audit.accuracy", params, timeout_s=DRAW_TIMEOUT_S)
        rows = answer["inspect"] if sample is not None else answer["not_equal"]
        if csv_file is not None:
            _write_csv(csv_file, rows)
        if as_json:
            _say_json(answer)
        elif csv_file is None or sample is not None:
            show_report({key: value for key, value in answer.items() if key not in ("inspect", "not_equal", "exponent")})
            say("")
            nothing = "every label says what the lane says"
            if on_terminal():
                told = [_line_words(row, answer["exponent"]) for row in rows]
                columns = LINE_WORDS if sample is not None else LINE_WORDS[1:]
                show_rows(told, first=columns, nothing=nothing, only=True, wide="why", cut="name")
            else:
                show_rows(rows, first=LINE_COLUMNS, nothing=nothing)
        return EXIT_REFUSED if answer["all"]["over"] else None

    return app


def _line_words(row: Mapping[str, Any], exponent: int) -> dict[str, object]:
    per = f" for {row['quantity']}" if row["quantity"] != 1 else ""
    return {
        "number": row.get("number"),
        "item": row["item"],
        "name": row["name"],
        "label": f"{row['label']}{'' if row['audience'] == 'all' else ' (members)'}",
        "place": row["place"],
        "label says": money(row["label_minor"], exponent) + per if row["label_minor"] is not None else "",
        "lane says": money(row["lane_minor"], exponent) + per if row["lane_minor"] is not None else "",
        "verdict": row["verdict"],
        "why": row["why"],
    }


def _show_then(answer: Mapping[str, Any]) -> None:
    if on_terminal():
        _show_words(answer)
    else:
        plain = {key: answer[key] for key in ("item", "time", "entry")}
        members = {"member_lane": answer["member_lane"]} if answer["member_lane"] else {}
        show_report({**plain, "target": answer["target"] or "no price", "lane": answer["lane"] or "no price", **members})
        for key, nothing in PARTS:
            say("")
            say(key.replace("_", " "))
            show_rows(answer[key], nothing=f"  {nothing}")
    for limit in answer["limits"]:
        say(f"note: {limit}")


def _show_words(answer: Mapping[str, Any]) -> None:
    """For a person: amounts as prices, and what a line of a terminal has room for."""
    exponent, target = answer["exponent"], answer["target"]
    report: dict[str, object] = {"item": answer["item"], "time": instant(answer["time"]), "entry": answer["entry"], "target": "no price"}
    if target is not None:
        report["target"] = f"{offer(target['curve'], exponent)}, {target['kind']} {target['price_id']} rev {target['rev']}"
        report["in force since"] = f"{instant(target['since'])}, from {target['source']}"
        report["lane asked"] = lane(answer["lane"], exponent)
    if answer["member_lane"]:
        report["of members"] = lane(answer["member_lane"], exponent)
    show_report(report)
    rows = {
        "labels": [_label_words(each, exponent) for each in answer["labels"]],
        "quotes_and_sales": [_charged_words(each, exponent) for each in answer["quotes_and_sales"]],
        "decisions": [_decision_words(each) for each in answer["decisions"]],
    }
    for (key, nothing), wide in zip(PARTS, ("prices", "ref", "said"), strict=True):
        say("")
        say(key.replace("_", " "))
        show_rows(rows[key], nothing=f"  {nothing}", wide=wide)


def _label_words(row: Mapping[str, Any], exponent: int) -> dict[str, object]:
    curves: dict[tuple[str, int], list[list[int]]] = {}
    for each in row["prices"]:
        curves.setdefault((each["audience"], each["page"]), []).append([each["quantity"], each["total_minor"]])
    words = [
        offer(points, exponent) + ("" if audience == "all" else " (members)") + (f" (page {page})" if page else "")
        for (audience, page), points in curves.items()
    ]
    told = {key: row[key] for key in ("label", "attempt", "shown", "grade")}
    return {**told, "since": instant(row["since"]), "entry": row["entry"], "picture": row.get("picture"), "prices": "; ".join(words)}


def _charged_words(row: Mapping[str, Any], exponent: int) -> dict[str, object]:
    return {
        "time": instant(row["time"]),
        "what": f"{row['what']} (member)" if row["member"] else row["what"],
        "lane": row["lane"],
        "quantity": row["quantity"],
        "total": money(row["total_minor"], exponent),
        "target": money(row["target_total_minor"], exponent),
        "guard": row["guard"],
        "entry": row["entry"],
        "ref": row["ref"],
    }


def _decision_words(row: Mapping[str, Any]) -> dict[str, object]:
    left_out = ("ids", "of", "is", "event")
    said = {key: value for key, value in row["detail"].items() if key not in left_out}
    return {"time": instant(row["time"]), "what": row["what"], "by": row["by"], "entry": row["entry"], "said": said}


def _complain(trouble: Sequence[str]) -> int | None:
    """Evidence that does not hold is told on stderr, and by the exit code."""
    for text in trouble:
        warn(f"shelfd: {text}")
    return EXIT_REFUSED if trouble else None


def _save_pictures(directory: Path | None, labels: Sequence[Mapping[str, Any]]) -> int | None:
    if directory is None:
        return None
    drawn = [label for label in labels if "png_b64" in label]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for label in drawn:
            (directory / f"{label['label']}-{label['attempt']}.png").write_bytes(base64.b64decode(label["png_b64"]))
    except OSError as error:
        raise CliError(f"{directory}: cannot be written: {error.strerror}", EXIT_USAGE) from error
    return len(drawn)


def _export(call: Call, context: typer.Context, file: Path, since: str, until: str) -> int | None:
    """The daemon gives the lines, this writes them, and the daemon's signature must be over what was written."""
    begun: dict[str, Any] = call(context, "audit.export", {"from": since, "to": until})
    part = file.with_name(file.name + ".part")
    sha256 = hashlib.sha256()
    try:
        if file.exists():
            raise CliError(f"{file}: exists already, expected a new file", EXIT_USAGE)
        with part.open("wb") as out:
            done = False
            while not done:
                page: dict[str, Any] = call(context, "audit.export.page", {"export": begun["export"]}, timeout_s=CHECK_TIMEOUT_S)
                content = "".join(f"{line}\n" for line in page["lines"]).encode()
                sha256.update(content)
                out.write(content)
                done = page["done"]
            sealed: dict[str, Any] = call(context, "audit.export.seal", {"export": begun["export"]})
            out.write(f"{sealed['manifest']}\n{sealed['signature']}\n".encode())
        manifest = json.loads(sealed["manifest"])["manifest"]
        if manifest["lines_sha256"] != sha256.hexdigest():
            raise CliError(f"{part}: what was written is not what was signed; try again", EXIT_REFUSED)
        part.rename(file)
    except OSError as error:
        raise CliError(f"{file}: cannot be written: {error.strerror}", EXIT_USAGE) from error
    say(f"{file}: entries {begun['first']} to {begun['last']}, signed by {manifest['public_key']}")
    return _complain(
        [f"audit entry {entry} does not hold: there is no text for it, see: shelfd audit verify" for entry in manifest["changed"]]
    )


def _write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = [*LINE_COLUMNS, "grade", "stratum", "why", "labels", "found_minor", "inspector"]  # the last two are for a pencil
    try:
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    except OSError as error:
        raise CliError(f"{file}: cannot be written: {error.strerror}", EXIT_USAGE) from error


def _cell(value: object) -> object:
    """A spreadsheet must not take a name for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _say_json(answer: object) -> None:
    say(json.dumps(answer, indent=2, ensure_ascii=False))
