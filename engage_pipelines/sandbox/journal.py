"""The journal: how often each record that callers sent was applied, and with what effect.

An effect is a creation or a change of what is held; the same content once more has none, except where every time
counts (`rows.Applies`). What was asked again without effect is `ignored`, what the vendor said no to `refused`.
Work that was done counts whether or not its answer reached the caller. Records that come in files are not here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from engage_pipelines.sandbox.holdings import Holdings
from engage_pipelines.sandbox.rows import Applies, Row, Rows, reach

# One row per kind and key. `content` is that of the last application, null before the first.
_SCHEMA = """
create table if not exists journal (
    kind text not null, key text not null, created integer not null, changed integer not null,
    ignored integer not null, refused integer not null, content blob, primary key (kind, key)
) without rowid;
"""
_SUMS = """
select
    kind, count(*) as keys, sum(created) as created, sum(changed) as changed, sum(ignored) as ignored,
    sum(refused) as refused, sum(created + changed = 0) as never_applied,
    sum(created + changed > 1) as applied_more_than_once
from journal
group by kind
order by kind
"""
_FIRST = "created = created + (content is null)"
_SAME, _OTHER = "content is excluded.content", "content is not null and content is not excluded.content"
_TAKE: dict[Applies, str] = {
    "replace": f"values (?, ?, 1, 0, 0, 0, ?) on conflict do update set {_FIRST}, changed = changed + ({_OTHER}),"
    f" ignored = ignored + ({_SAME}), content = excluded.content",
    "once": f"values (?, ?, 1, 0, 0, 0, ?) on conflict do update set {_FIRST},"
    " ignored = ignored + (content is not null), content = coalesce(content, excluded.content)",
    "change": "values (?, ?, 0, 1, 0, 0, ?) on conflict do update set"
    f" changed = changed + (content is not excluded.content), ignored = ignored + ({_SAME}),"
    " content = excluded.content",
    "add": f"values (?, ?, 1, 0, 0, 0, ?) on conflict do update set {_FIRST},"
    " changed = changed + (content is not null), content = excluded.content",
}
_REFUSE = "values (?, ?, 0, 0, 0, 1, null) on conflict do update set refused = refused + 1"
PICKS = {
    "all": "true", "applied_more_than_once": "created + changed > 1", "never_applied": "created + changed = 0",
    "refused": "refused > 0", "ignored": "ignored > 0",
}  # fmt: skip
_NO_VERDICT = frozenset({401, 403, 429})


class Journal:
    """One vendor's journal, kept in a file with the sandbox's state.

    Args:
        directory: its folder.
        name: the vendor.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._holdings = Holdings(directory, name, _SCHEMA)

    def note(self, rows: Rows, sent: Sequence[Row], status: int, answer: Any, struck: Collection[str] = ()) -> None:
        """Write down what became of the rows of a call; `struck` are keys that a fault refused."""
        verdict = _verdict(status, answer)
        if verdict is None:
            return
        refused = {*_refused_keys(rows, answer), *struck} if verdict else {row.key for row in sent}
        with self._holdings.change() as change:
            change.executemany(
                f"insert into journal {_TAKE[rows.applies]}",
                [(rows.kind, row.identity, row.content) for row in sent if row.key not in refused],
            )
            change.executemany(
                f"insert into journal {_REFUSE}",
                [(rows.kind, row.identity) for row in sent if row.key in refused],
            )

    def sums(self) -> dict[str, dict[str, int]]:
        """Counts per kind of record."""
        return {row["kind"]: {n: row[n] for n in row.keys() if n != "kind"} for row in self._holdings.rows(_SUMS)}  # noqa: SIM118  a sqlite3.Row is no mapping

    def listing(self, kind: str, pick: str, offset: int, limit: int) -> dict[str, Any]:
        """One page of keys with their counts; `pick` is one of `PICKS`."""
        where = f"kind = ? and {PICKS[pick]}"
        found = self._holdings.rows(
            f"select key, created, changed, ignored, refused from journal where {where} order by key limit ? offset ?",
            (kind, limit, offset),
        )
        total = self._holdings.number(f"select count(*) from journal where {where}", (kind,))
        return {"kind": kind, "pick": pick, "total": total, "records": [dict(row) for row in found]}

    def missing(self, kind: str, keys: Iterable[str]) -> list[str]:
        """Which of these keys were never applied."""
        query = "select key from journal where kind = ? and created + changed > 0"
        applied = {row[0] for row in self._holdings.rows(query, (kind,))}
        return [key for key in keys if key not in applied]

    def forget(self) -> None:
        """Begin anew: what is applied from now on is counted from nothing."""
        with self._holdings.change() as change:
            change.execute("delete from journal")

    def close(self) -> None:
        """Close the file."""
        self._holdings.close()


def _verdict(status: int, answer: Any) -> bool | None:
    # None: the vendor did not look at the records, so it has neither taken nor refused them.
    if status >= 500 or status in _NO_VERDICT:
        return None
    code = reach(answer, "status.code")
    if code is not None and code != "OK":
        return False if code == "ERROR" else None
    return status < 300


def _refused_keys(rows: Rows, answer: Any) -> set[str]:
    if rows.refused_at is None:
        return set()
    path, name = rows.refused_at
    found = reach(answer, path)
    return {str(one.get(name)) for one in found} if isinstance(found, list) else set()
