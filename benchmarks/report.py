"""The results as a file for programs, a page and a chart for people, and the table in the README."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.chart import chart
from benchmarks.measures import Measure
from benchmarks.plan import Plan, Row
from benchmarks.tables import compared, ended, table

BEGIN = "<!-- measured: written by `python -m benchmarks` -->"
END = "<!-- end of measured -->"


def keep(folder: Path, name: str, rows: list[Row], versions: dict[str, dict[str, str]], plan: Plan) -> None:
    """Put a measure's rows into `latest.json`, in the place of its earlier ones."""
    folder.mkdir(parents=True, exist_ok=True)
    known = _known(folder)
    measured = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"), "is_quick": plan.is_quick,
        "is_large": plan.is_large, "rows": rows,
    }  # fmt: skip
    results = {"machine": _machine(), "versions": versions, "measures": {**known.get("measures", {}), name: measured}}
    # Aside and renamed: whoever stops a run in the middle keeps the results of the measures before.
    aside = folder / "latest.json.new"
    aside.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    aside.rename(folder / "latest.json")


def write_page(folder: Path, measures: Mapping[str, Measure]) -> None:
    """Make `latest.md` and `chart.svg` from `latest.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    results = _known(folder)
    (folder / "latest.md").write_text(page(results, measures), encoding="utf-8")
    (folder / "chart.svg").write_text(chart(results.get("measures", {})), encoding="utf-8")


def write_readme(file: Path, folder: Path, measures: Mapping[str, Measure]) -> None:
    """Put the last run's comparison between the README's two markers."""
    text = file.read_text(encoding="utf-8")
    before, found, rest = text.partition(BEGIN)
    _, ended_too, after = rest.partition(END)
    if not found or not ended_too:
        raise SystemExit(f"{file.name} has no place for the table: {BEGIN} and {END}")
    file.write_text(f"{before}{BEGIN}\n\n{summary(_known(folder), measures)}\n\n{END}{after}", encoding="utf-8")


def summary(results: Row, measures: Mapping[str, Measure]) -> str:
    """Beside whom the product is how fast, and how many targets are met; short."""
    measured: Row = results.get("measures", {})
    lines = [line for name, measure in measures.items() for line in _compared(measure, _rows(measured, name))]
    head = ["what", "engage_pipelines", "beside it", "its result", "times"]
    wanted = _targets(measured, measures)
    missed = [line for line in wanted if line[3] != "yes"]
    told = f"{len(wanted) - len(missed)} of {len(wanted)} targets are met"
    if missed:
        told += "; missed: " + "; ".join(f"{line[0]} ({line[2]}, wanted {line[1]})" for line in missed)
    return f"{table(head, lines)}\n\n{_machine_in_words(results)} {told}."


def page(results: Row, measures: Mapping[str, Measure]) -> str:
    """All tables, in Markdown, and the targets at the end."""
    measured: Row = results.get("measures", {})
    parts = ["# Measured", _surroundings(results)]
    for name, measure in measures.items():
        if rows := _rows(measured, name):
            parts += [measure.table(rows), _when(measured[name])]
    head = ["measure", "target", "measured", "met", "why not"]
    parts += ["## Targets", table(head, _targets(measured, measures))]
    return "\n\n".join(parts) + "\n"


def _targets(measured: Row, measures: Mapping[str, Measure]) -> list[list[str]]:
    return [line for name, measure in measures.items() for line in measure.targets(_rows(measured, name))]


def _rows(measured: Row, name: str) -> list[Row]:
    rows: list[Row] = measured.get(name, {}).get("rows", [])
    return rows


def _compared(measure: Measure, rows: list[Row]) -> list[list[str]]:
    """A measure's lines for the README: beside its peers or, where there is none, beside what is wanted."""
    if summary_of := getattr(measure, "summary", None):
        found: list[list[str]] = summary_of(rows)
        return found
    return [
        compared(what, figure, "target", f"{wanted}, {'met' if met == 'yes' else '**missed**'}")
        for what, wanted, figure, met, _ in measure.targets(rows)
    ]


def _known(folder: Path) -> Row:
    file = folder / "latest.json"
    known: Row = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return known


def _surroundings(results: Row) -> str:
    return "\n\n".join([
        f"{_machine_in_words(results)} Rows/s leave the imports out; CPU and memory are of the whole process with its "
        "children, a second run included where there is one.",
        *(
            f"{name.capitalize()}: " + ", ".join(f"{package} {text}" for package, text in found.items()) + "."
            for name, found in results.get("versions", {}).items()
        ),
    ])  # fmt: skip


def _machine_in_words(results: Row) -> str:
    machine = results.get("machine") or _machine()
    return f"{machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}."


def _machine() -> Row:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(), "memory_gb": round(memory / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
    }  # fmt: skip


def _when(measured: dict[str, Any]) -> str:
    return f"Measured {measured['measured_at']}, " + ", ".join(_conditions(measured)) + "."


def _conditions(measured: dict[str, Any]) -> Iterator[str]:
    rows: list[Row] = measured["rows"]
    rounds = [len(row.get("all_seconds", [0])) for row in ended(rows)]
    if rounds:
        yield _median_of(rounds)
    if measured.get("is_quick"):
        yield "small sizes that say nothing of speed"
    loads = [row["load"] for row in rows if "load" in row]
    yield f"load of the machine before {min(loads):.1f} to {max(loads):.1f}" if loads else "load not noted"


def _median_of(rounds: list[int]) -> str:
    fewest, most = min(rounds), max(rounds)
    if most == 1:
        return "one round, no median"
    return f"median of {fewest} rounds" if fewest > 1 else f"median of {most} rounds, the largest size in one"
