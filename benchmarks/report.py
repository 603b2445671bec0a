"""The results as a file for programs, a page for people, and a chart."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.chart import chart

Row = dict[str, Any]
OURS = "engage_pipelines"


def write(folder: Path, name: str, rows: list[Row], versions: dict[str, dict[str, str]]) -> None:
    """Put a measure's rows in the place of its earlier ones; page and chart are made anew."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "latest.json"
    known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    measured_at = datetime.now(UTC).isoformat(timespec="seconds")
    measures = {**known.get("measures", {}), name: {"measured_at": measured_at, "rows": rows}}
    results = {"machine": _machine(), "versions": versions, "measures": measures}
    file.write_text(json.dumps(results, indent=2) + "\n")
    (folder / "latest.md").write_text(page(results))
    (folder / "chart.svg").write_text(chart(measures))


def as_dict(accounts: Any) -> Row:
    """A frozen value as it is written down."""
    return asdict(accounts)


def page(results: Row) -> str:
    """All tables, in Markdown."""
    measures = results["measures"]
    parts = ["# Measured", _surroundings(results)]
    for name, table in (("pull", _pull_table), ("limit", _limit_table), ("deliver", _deliver_table),
                        ("faults", _faults_table)):  # fmt: skip
        if name in measures:
            parts.append(table(measures[name]["rows"]))
            parts.append(
                f"Measured {measures[name]['measured_at']}, {_rounds(measures[name]['rows'])}, "
                f"{_loads(measures[name]['rows'])}."
            )
    parts += ["## Targets", _targets(measures)]
    return "\n\n".join(parts) + "\n"


def _pull_table(rows: list[Row]) -> str:
    lines = [
        [
            f"{row['rows']:,}", _ms(row), row["contender"], _speed(row), f"{row['cpu_seconds']:.1f}",
            f"{row['peak_mb']:,.0f}", _complete(row["completeness"]), f"{row['stand_in_cpu_seconds']:.1f}",
        ]
        for row in _ended(rows)
    ]  # fmt: skip
    head = ["orders", "latency", "contender", "orders/s", "CPU s", "peak MB", "complete", "stand-in's CPU s"]
    return "## Pull and load\n\n" + _table(head, lines) + _failures(rows)


def _limit_table(rows: list[Row]) -> str:
    lines = [
        [
            f"{row['rows']:,}", _ms(row), f"{row['rate']}/s", row["contender"], _speed(row), str(row["calls"]),
            str(row["refused"]), f"{row['share_of_pull']:.1%}", f"{row['share_in_all']:.1%}",
        ]
        for row in _ended(rows)
    ]  # fmt: skip
    head = [
        "orders", "latency", "limit", "contender", "orders/s", "calls", "429", "of the limit: pull", "pull and load",
    ]  # fmt: skip
    return "## Pull under a limit\n\n" + _table(head, lines) + _failures(rows)


def _deliver_table(rows: list[Row]) -> str:
    lines = [
        [
            f"{row['batch']:,}", _ms(row), f"{row['rate']}/s" if "rate" in row else "none", row["contender"],
            _speed(row), f"{row['cpu_seconds']:.1f}", f"{row['peak_mb']:,.0f}", str(row["in_flight"]),
            _calls(row), str(row["refused"]), f"{row['share_of_rate']:.1%}" if "rate" in row else "",
            _second(row), _complete(row["completeness"]),
        ]
        for row in _ended(rows)
    ]  # fmt: skip
    head = [
        "rows a call", "latency", "limit", "contender", "rows/s", "CPU s", "peak MB", "in flight", "calls", "429",
        "of the rate", "second run", "complete",
    ]  # fmt: skip
    return f"## Deliver {rows[0].get('rows', 0):,} rows\n\n" + _table(head, lines) + _failures(rows)


def _faults_table(rows: list[Row]) -> str:
    names = ["sent", "poisoned", "held", "twice", "lost", "told_delivered", "falsely_told", "told_refused",
             "sent_again", "calls"]  # fmt: skip
    lines = [[row["contender"], *(f"{row['accounts'][name]:,}" for name in names)] for row in _ended(rows)]
    head = ["contender", "rows", "poisoned", "held", "held twice", "lost", "told as delivered", "of those not there",
            "told as refused", "sent again", "calls of two runs"]  # fmt: skip
    return "## Deliver while things go wrong\n\n" + _table(head, lines) + _failures(rows)


def _targets(measures: Row) -> str:
    lines = [*_pull_targets(measures.get("pull", {}).get("rows", [])),
             *_limit_targets(measures.get("limit", {}).get("rows", [])),
             *_deliver_targets(measures.get("deliver", {}).get("rows", [])),
             *_fault_targets(measures.get("faults", {}).get("rows", []))]  # fmt: skip
    return _table(["measure", "target", "measured", "met"], lines)


def _pull_targets(rows: list[Row]) -> list[list[str]]:
    speeds = {(row["rows"], row["latency_ms"], row["contender"]): row["rows_per_second"] for row in _ended(rows)}
    lines = []
    for (count, latency, who), ours in speeds.items():
        if who != OURS or latency:
            continue
        for peer, target in (("dlt, tuned", 12.0), ("bare script", 0.65)):
            if theirs := speeds.get((count, latency, peer)):
                lines.append(_line(f"pull {count:,} orders, no latency, against {peer}", f">= {target:g}x",
                                   f"{ours / theirs:.2f}x", ours >= target * theirs))  # fmt: skip
    for row in _ended(rows):
        if row["contender"] == OURS and not row["latency_ms"]:
            lines.append(_line(f"peak memory of {row['rows']:,} orders", "<= 400 MB", f"{row['peak_mb']:,.0f} MB",
                               row["peak_mb"] <= 400))  # fmt: skip
    return lines


def _limit_targets(rows: list[Row]) -> list[list[str]]:
    return [
        _line(f"pull at 50 ms under {row['rate']}/s, of what the limit allows", ">= 90 %",
              f"{row['share_of_pull']:.1%}", row["share_of_pull"] >= 0.9)
        for row in _ended(rows)
    ]  # fmt: skip


def _deliver_targets(rows: list[Row]) -> list[list[str]]:
    ended = _ended(rows)
    free = {(r["batch"], r["latency_ms"], r["contender"]): r["rows_per_second"] for r in ended if "rate" not in r}
    flights = {row["batch"]: row["in_flight"] for row in ended if row["contender"] == OURS}
    lines = []
    for (batch, latency, who), ours in free.items():
        if who == OURS and latency == 50 and (theirs := free.get((batch, latency, "drt"))):
            what = f"deliver at 50 ms, {batch:,} rows a call, {flights[batch]} in flight, against drt"
            lines.append(_line(what, ">= 10x", f"{ours / theirs:.1f}x", ours >= 10 * theirs))
    for row in ended:
        if row["contender"] == OURS and "rate" in row:
            second = row["result"]["second"]
            lines += [
                _line(f"deliver under {row['rate']}/s, of the rate", ">= 98 %", f"{row['share_of_rate']:.1%}",
                      row["share_of_rate"] >= 0.98),
                _line("refused with 429", "0", str(row["refused"]), not row["refused"]),
                _line("calls (with one for the token)", f"{row['minimal_calls'] + 1}", str(row["calls"]),
                      row["calls"] == row["minimal_calls"] + 1),
                _line("unchanged second run", "0 calls, <= 2 s", f"{second['calls']} calls, {second['seconds']:.2f} s",
                      not second["calls"] and second["seconds"] <= 2),
            ]  # fmt: skip
    return lines


def _fault_targets(rows: list[Row]) -> list[list[str]]:
    return [
        _line("deliver with faults", "0 lost, 0 twice",
              f"{row['accounts']['lost']} lost, {row['accounts']['twice']} twice",
              not row["accounts"]["lost"] and not row["accounts"]["twice"])
        for row in _ended(rows) if row["contender"] == OURS
    ]  # fmt: skip


def _line(measure: str, target: str, measured: str, met: bool) -> list[str]:
    return [measure, target, measured, "yes" if met else "**no**"]


def _surroundings(results: Row) -> str:
    machine, lines = results["machine"], []
    lines.append(
        f"{machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}. Rows/s leave the imports out; "
    )
    lines.append("CPU and memory are of the whole process with its children, a second run included where there is one.")
    for name, found in results["versions"].items():
        lines.append(f"\n\n{name.capitalize()}: " + ", ".join(f"{package} {text}" for package, text in found.items()))
    return "".join(lines) + "."


def _machine() -> Row:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(), "memory_gb": round(memory / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
    }  # fmt: skip


def _rounds(rows: list[Row]) -> str:
    fewest = min((len(row.get("all_seconds", [0])) for row in _ended(rows)), default=0)
    return "one round, no median" if fewest == 1 else f"median of {fewest} rounds"


def _loads(rows: list[Row]) -> str:
    loads = [row["load"] for row in rows if "load" in row]
    return f"load of the machine before {min(loads):.1f} to {max(loads):.1f}" if loads else "load not noted"


def _ended(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if "seconds" in row]


def _failures(rows: list[Row]) -> str:
    failed = [f"\n\n{row['contender']} did not end: `{row['failure'][-160:]}`" for row in rows if "failure" in row]
    return "".join(failed)


def _complete(compared: Row) -> str:
    if compared["is_complete"]:
        return "yes"
    kinds = {name: each for name, each in compared.items() if name != "is_complete"}
    return "**no**: " + ", ".join(f"{name} {each['held']:,} of {each['expected']:,}" for name, each in kinds.items())


def _calls(row: Row) -> str:
    first = row["result"]["first"]
    return str(first["calls"]) if "calls" in first else str(row["minimal_calls"])


def _second(row: Row) -> str:
    second = row["result"]["second"]
    if second is None:
        return "not run"
    calls = second.get("calls", row["calls"] - row["minimal_calls"])
    return f"{calls} calls, {second['seconds']:.2f} s"


def _ms(row: Row) -> str:
    return f"{row['latency_ms']:.0f} ms"


def _speed(row: Row) -> str:
    return f"{row['rows_per_second']:,.0f}"


def _table(head: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines))
