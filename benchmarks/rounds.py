"""How contenders are run: side by side, round after round, in fresh folders; and what is noted of each."""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.plan import Plan, Row
from benchmarks.processes import ContenderError, Measured


def side_by_side(
    plan: Plan,
    measure: str,
    contenders: Sequence[str],
    once: Callable[[str], Row],
    setting: str = "",
    *,
    by: str = "seconds",
) -> Iterator[Row]:
    """Round by round, contender after contender; the median round of each, or how it failed.

    Args:
        plan: how many rounds.
        measure: what the rows are called.
        contenders: who is measured, in this order.
        once: one contender, one round.
        setting: how large and how slow, for whoever watches.
        by: what the median round is the middle of: `seconds`, or the part of them that is judged.
    """
    if setting:
        say(f"  {setting}")
    rounds: dict[str, list[Row]] = {who: [] for who in contenders}
    for number in range(1, plan.rounds + 1):
        for who in contenders:
            say(f"    {who}, round {number} of {plan.rounds}: ", end="")
            rounds[who].append(_or_failure(who, once))
    for who in contenders:
        yield {"measure": measure, "contender": who, **_median(rounds[who], by)}


def _or_failure(who: str, once: Callable[[str], Row]) -> Row:
    try:
        row = once(who)
    except ContenderError as error:
        say(f"failed: {error}")
        return {"failure": str(error)[-400:]}
    speed = f"{row['rows_per_second']:,.0f} rows/s, " if "rows_per_second" in row else ""
    say(
        f"{speed}{row['seconds']:.2f} s, {row.get('peak_mb', 0):,.0f} MB" + ("" if is_complete(row) else ", INCOMPLETE")
    )
    return row


def _median(rounds: list[Row], by: str) -> Row:
    """The middle one of those that ended, with the figure of all; the last failure goes with it."""
    ended = [row for row in rounds if "seconds" in row]
    if not ended:
        return rounds[0]
    middle = statistics.median_low([row[by] for row in ended])
    median = next(row for row in ended if row[by] == middle)
    # One round that was incomplete or refused must show, whichever is the median.
    told = {"is_complete_always": all(map(is_complete, ended)), "failed_rounds": len(rounds) - len(ended)}
    if "refused" in median:
        told["refused"] = max(row["refused"] for row in ended)
    return {**median, "all_seconds": [row[by] for row in ended], **told}


def is_complete(row: Row) -> bool:
    """Whether nothing is missing or double, as far as the row says anything of it."""
    told = row.get("completeness")
    inner = told.get("is_complete", True) if isinstance(told, dict) else told is not False
    return bool(inner and row.get("is_complete", True) and row.get("is_complete_always", True))


def is_sound(row: Row) -> bool:
    """Whether every round ended, and complete."""
    return "failure" not in row and not row.get("failed_rounds") and is_complete(row)


def figures(measured: Measured, rows: int) -> Row:
    """Speed, processor and memory of a process that went through so many rows."""
    seconds = measured.result["seconds"]
    return {
        "rows": rows, "seconds": round(seconds, 3), "rows_per_second": rows / seconds,
        "cpu_seconds": round(measured.cpu_seconds, 2), "peak_mb": measured.peak_bytes / 1e6,
        "wall_seconds": round(measured.wall_seconds, 2), "load": measured.load_before,
    }  # fmt: skip


def stood(report: Row) -> Row:
    """What the stand-in saw, and what it cost there."""
    return {
        "calls": report["calls"], "refused": report["refused"], "most_in_flight": report["most_in_flight"],
        "stand_in_cpu_seconds": round(report["cpu_seconds"], 2),
    }  # fmt: skip


def fresh(plan: Plan, measure: str, who: str) -> Path:
    """An empty folder for one contender in one round."""
    folder = plan.data / measure / who.replace(", ", "-").replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def say(text: str, end: str = "\n") -> None:
    """Progress, for whoever watches."""
    sys.stderr.write(text + end)
    sys.stderr.flush()
