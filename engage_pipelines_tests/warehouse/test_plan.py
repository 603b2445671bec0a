"""What a run would send: the stream's records against what the ledger knows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engage_pipelines.connector import BatchLimits, InDoubt, Stream, Window
from engage_pipelines.warehouse import Note, PlanRequest, PlanResult, Selection, write_plan
from engage_pipelines_tests.plain_till import CUSTOMERS, Loader, customer, order

SQL = """
select t.transaction_id as record_key,
    to_json({id: t.transaction_id, total: t.total_amount, store: s.store_name, extra: getvariable('extra'),
        lines: (select list(l.name order by l.line_id) from core.transaction_lines as l
            where l.transaction_id = t.transaction_id)}) as payload,
    case when not t.is_countable then t.status when getvariable('channel') = 'history' then 'by API' end
        as skipped_reason,
    case when t.total_amount > 1000 then 'too much money' end as rejected_reason,
    t.line_count as weight
from selected as t
left join store_names as s using (store_id);
"""
STREAM = Stream(
    name="receipts", sql="receipts.sql", selects="transactions", limits=BatchLimits(), summary="Receipts.",
    send=lambda session, batch: [], in_doubt=InDoubt("hold", "a receipt cannot be taken back"),
)  # fmt: skip
EVERYTHING = Selection()
NOTHING: Mapping[str, Any] = MappingProxyType({})
LEDGER = ("record_key", "state", "payload_hash", "delivered_hash")


def texts(names: Sequence[str], rows: Sequence[Sequence[str | None]]) -> pa.Table:
    """Rows of text as an Arrow table."""
    return pa.table({name: pa.array([row[n] for row in rows], pa.string()) for n, name in enumerate(names)})


def known_rows(rows: Sequence[Sequence[str | None]]) -> pa.Table:
    """What the ledger gives of records that were never corrected."""
    table = texts(LEDGER, rows)
    return table.append_column("correction_count", pa.array([0] * table.num_rows, pa.int64()))


@dataclass
class Desk:
    """Plans a stream of a small warehouse."""

    folder: Path
    till: Loader
    file: Path = field(init=False)
    # Keys of needed records that the ledger was asked for.
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.file = self.folder / "plan" / "plan.parquet"
        (self.folder / "receipts.sql").write_text(SQL)
        (self.folder / "people.sql").write_text(
            "select customer_id as record_key, to_json({city: city}) as payload, null as skipped_reason, "
            "null as rejected_reason from selected"
        )

    def plan(
        self,
        stream: Stream = STREAM,
        ledger: Mapping[str, tuple[str, str, str | None]] | None = None,
        selection: Selection = EVERYTHING,
        extra: str | None = None,
        fixes: Sequence[tuple[str, str, str]] = (),
        originals: Sequence[tuple[str, str, str]] = (),
        there: Mapping[str, tuple[str, str, str | None]] = NOTHING,
    ) -> PlanResult:
        known = ledger or {}
        rows = [(key, *row) for key, row in known.items()]
        plain = [row for row in rows if row[1] in ("delivered", "accepted")]
        held = known_rows(plain).select(["record_key", "delivered_hash"])
        request = PlanRequest(
            stream=stream,
            policy=stream.in_doubt.policy,
            folder=self.folder,
            selection=selection,
            known=lambda keys: known_rows([row for row in rows if row[0] in keys]),
            held=lambda: nullcontext(held.to_reader()),
            special=known_rows([row for row in rows if row not in plain]),
            needed=lambda keys: (
                self.asked.extend(keys) or known_rows([(key, *there[key]) for key in keys if key in there])
            ),
            fixes=texts(("record_key", "instead_of", "payload"), fixes),
            originals=texts(("record_key", "payload_hash", "payload"), originals),
            variables={"extra": extra},
            store_names={"acme:L1": "Soho"},
            file=self.file,
        )
        return write_plan(self.till.warehouse, request)

    def planned(self) -> list[dict[str, Any]]:
        return pq.read_table(self.file).to_pylist()

    def keys(self) -> list[str]:
        return [row["record_key"] for row in self.planned()]

    def hash_of(self, key: str = "acme:O1", **options: Any) -> str:
        self.plan(**options)
        return next(row["payload_hash"] for row in self.planned() if row["record_key"] == key)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, Loader(tmp_path))


def test_everything_is_new_to_an_empty_ledger_and_is_written_in_the_order_of_keys(desk: Desk) -> None:
    desk.till.load(order("O2"), order("O1", total=10.10))
    result = desk.plan()
    assert (result.counts, result.to_send, result.source_records, result.notes) == ({"send_new": 2}, 2, 2, [])
    first, second = desk.planned()
    assert (first["record_key"], second["record_key"], first["weight"]) == ("acme:O1", "acme:O2", 2)
    assert first["payload"] == '{"id":"acme:O1","total":10.1000,"store":"Soho","extra":null,"lines":["Tea","Cake"]}'
    assert first["payload_hash"] == hashlib.md5(first["payload"].encode()).hexdigest()


def test_what_the_platform_holds_as_it_is_is_not_sent(desk: Desk) -> None:
    desk.till.load(order())
    same = desk.hash_of()
    result = desk.plan(ledger={"acme:O1": ("delivered", same, same)})
    assert (result.counts, desk.planned()) == ({"unchanged": 1}, [])


def test_a_change_is_sent_and_where_nothing_can_change_it_is_noted_instead(desk: Desk) -> None:
    desk.till.load(order())
    ledger = {"acme:O1": ("accepted", "old", "old")}
    assert desk.plan(ledger=ledger).counts == {"send_changed": 1}
    immutable = replace(STREAM, immutable=True)
    now = desk.hash_of()
    result = desk.plan(immutable, ledger)
    assert (result.counts, desk.planned()) == ({"diverged": 1}, [])
    assert result.notes == [Note("acme:O1", "diverged", now, "changed after delivery", None)]


def test_what_has_been_noted_is_not_noted_again(desk: Desk) -> None:
    desk.till.load(order(), order("BIG", total=5000))
    now, big = desk.hash_of(), hashlib.md5(b"x").hexdigest()
    ledger = {"acme:O1": ("diverged", now, "old"), "acme:BIG": ("rejected", big, None)}
    result = desk.plan(replace(STREAM, immutable=True), ledger)
    assert result.counts == {"diverged": 1, "rejected": 1}
    (note,) = result.notes
    assert note.record_key == "acme:BIG"
    assert desk.plan(ledger={"acme:BIG": (note.state, note.payload_hash, None)}).notes == []


def test_a_record_that_cannot_go_as_it_is_is_rejected_with_the_reason_and_not_sent(desk: Desk) -> None:
    desk.till.load(order("BIG", total=5000))
    result = desk.plan()
    assert (result.counts, desk.keys()) == ({"rejected": 1}, [])
    (note,) = result.notes
    assert (note.record_key, note.state, note.reason) == ("acme:BIG", "rejected", "too much money")
    # The payload goes with it: whoever corrects it must see it.
    assert hashlib.md5((note.payload or "").encode()).hexdigest() == note.payload_hash
    assert result.rejected == {"too much money": 1}


def test_a_record_that_the_vendor_refused_is_not_sent_again_until_it_changes(desk: Desk) -> None:
    desk.till.load(order())
    now = desk.hash_of()
    assert desk.plan(ledger={"acme:O1": ("rejected", now, None)}).counts == {"rejected": 1}
    assert desk.plan(ledger={"acme:O1": ("rejected", "old", None)}).counts == {"send_again": 1}


def test_a_refused_change_of_a_delivered_record_is_not_sent_every_night(desk: Desk) -> None:
    desk.till.load(order())
    now = desk.hash_of()
    result = desk.plan(ledger={"acme:O1": ("rejected", now, "v1")})
    assert (result.counts, result.notes, desk.keys()) == ({"rejected": 1}, [], [])
    # Changed back to what the platform holds: nothing to do; changed once more: another try.
    back = desk.plan(ledger={"acme:O1": ("rejected", "v2", now)})
    assert (back.counts, [note.state for note in back.notes]) == ({"unchanged": 1}, ["accepted"])
    assert desk.plan(ledger={"acme:O1": ("rejected", "v2", "v1")}).counts == {"send_changed": 1}


def test_a_pending_record_is_sent_again(desk: Desk) -> None:
    desk.till.load(order())
    now = desk.hash_of()
    assert desk.plan(ledger={"acme:O1": ("pending", now, None)}).counts == {"send_again": 1}
    assert desk.plan(ledger={"acme:O1": ("pending", "old", "older")}).counts == {"send_changed": 1}


def test_a_record_that_is_back_at_its_old_form_is_sent_only_if_the_other_form_may_have_arrived(desk: Desk) -> None:
    desk.till.load(order())
    now = desk.hash_of()
    again = replace(STREAM, in_doubt=InDoubt("resend", "it upserts"))
    assert desk.plan(again, {"acme:O1": ("in_doubt", "v2", now)}).counts == {"send_again": 1}
    # Pending means that the attempt did nothing.
    result = desk.plan(again, {"acme:O1": ("pending", "v2", now)})
    assert (result.counts, [note.state for note in result.notes]) == ({"unchanged": 1}, ["accepted"])


@pytest.mark.parametrize("state", ["in_doubt", "sending"])
def test_a_record_in_doubt_is_held_where_a_person_decides_and_sent_where_sending_twice_does_no_harm(
    desk: Desk, state: str
) -> None:
    desk.till.load(order())
    now = desk.hash_of()
    for last in (now, "other"):
        assert desk.plan(ledger={"acme:O1": (state, last, None)}).counts == {"held": 1}
    again = replace(STREAM, in_doubt=InDoubt("resend", "it upserts"))
    for last in (now, "other"):
        assert desk.plan(again, {"acme:O1": (state, last, None)}).counts == {"send_again": 1}
        assert desk.planned()[0]["is_in_doubt"]


def test_what_can_never_be_changed_goes_again_exactly_as_it_was_sent(desk: Desk) -> None:
    desk.till.load(order())
    final = replace(STREAM, immutable=True, in_doubt=InDoubt("resend", "the platform ignores a known key"))
    was = '{"id":"acme:O1","total":99}'
    sent = hashlib.md5(was.encode()).hexdigest()
    result = desk.plan(final, {"acme:O1": ("in_doubt", sent, None)}, originals=[("acme:O1", sent, was)])
    assert result.counts == {"send_again": 1}
    (row,) = desk.planned()
    assert (row["payload"], row["payload_hash"], row["is_in_doubt"]) == (was, sent, True)
    # Nobody knows any more what was sent: neither form is safe.
    assert desk.plan(final, {"acme:O1": ("in_doubt", sent, None)}).counts == {"held": 1}
    now = desk.hash_of()
    assert desk.plan(final, {"acme:O1": ("in_doubt", now, None)}).counts == {"send_again": 1}


def test_a_record_in_doubt_that_must_not_go_any_more_waits_for_a_person(desk: Desk) -> None:
    desk.till.load(order("V1", state="voided"), order("BIG", total=5000))
    again = replace(STREAM, in_doubt=InDoubt("resend", "it upserts"))
    result = desk.plan(again, {"acme:V1": ("in_doubt", "x", None), "acme:BIG": ("in_doubt", "x", None)})
    assert (result.counts, desk.keys(), result.notes) == ({"held": 2}, [], [])


def test_a_payload_that_a_person_put_right_goes_in_the_place_of_just_that_one(desk: Desk) -> None:
    desk.till.load(order("BIG", total=5000), order("O1"))
    (note,) = desk.plan().notes
    fixed = '{"id":"acme:BIG","total":999}'
    ledger = {"acme:BIG": ("rejected", note.payload_hash, None)}
    result = desk.plan(ledger=ledger, fixes=[("acme:BIG", note.payload_hash, fixed)])
    assert result.counts == {"send_again": 1, "send_new": 1}
    assert {row["record_key"]: row["payload"] for row in desk.planned()}["acme:BIG"] == fixed
    # Delivered as fixed, it stays so; the source's own change takes over again.
    held = hashlib.md5(fixed.encode()).hexdigest()
    delivered = {"acme:BIG": ("delivered", held, held)}
    result = desk.plan(ledger=delivered, fixes=[("acme:BIG", note.payload_hash, fixed)])
    assert result.counts == {"unchanged": 1, "send_new": 1}
    assert desk.plan(fixes=[("acme:BIG", "of another version", fixed)]).counts == {"rejected": 1, "send_new": 1}


def test_a_record_waits_for_the_one_that_it_needs(desk: Desk) -> None:
    desk.till.load(order("O1", customer_id="C1"), order("O2", customer_id="C2"), order("O3"))
    sql = SQL.replace("t.line_count as weight", "t.line_count as weight, t.customer_id as needs_key")
    (desk.folder / "needy.sql").write_text(sql)
    needy = replace(STREAM, sql="needy.sql", needs="people")
    first, second = {"acme:C1": ("accepted", "h", "h")}, {"acme:C2": ("accepted", "h", "h")}
    result = desk.plan(needy, there=first)
    assert (result.counts, desk.keys()) == ({"send_new": 2, "waiting": 1}, ["acme:O1", "acme:O3"])
    (note,) = result.notes
    assert (note.record_key, note.state) == ("acme:O2", "pending")
    assert desk.plan(needy, {"acme:O2": ("pending", note.payload_hash, None)}, there=first).notes == []
    assert desk.plan(needy, {"acme:O2": ("pending", "x", None)}, there=second).counts == {
        "send_again": 1, "waiting": 2
    }  # fmt: skip
    refused = desk.plan(needy, there={**first, "acme:C2": ("rejected", "h", None)})
    assert (refused.counts, refused.rejected) == (
        {"send_new": 2, "rejected": 1}, {"what it needs at the platform was refused there": 1}
    )  # fmt: skip


def test_what_a_person_has_put_aside_stays_aside_until_it_changes(desk: Desk) -> None:
    desk.till.load(order())
    now = desk.hash_of()
    result = desk.plan(ledger={"acme:O1": ("discarded", now, None)})
    assert (result.counts, result.skipped) == ({"skipped": 1}, {"discarded by a person": 1})
    assert desk.plan(ledger={"acme:O1": ("discarded", "old", None)}).counts == {"send_again": 1}


@pytest.mark.parametrize("state", ["pending", "rejected"])
def test_nothing_waits_for_a_record_that_does_not_go_there_any_more(desk: Desk, state: str) -> None:
    desk.till.load(order("V1", state="voided"))
    (note,) = desk.plan(ledger={"acme:V1": (state, "x", None)}).notes
    assert (note.state, note.reason) == ("skipped", "voided")


def test_the_amount_to_send_is_known_per_currency_and_what_vanished_is_counted(desk: Desk) -> None:
    desk.till.load(order("O1", total=10.10), order("O2", total=5), order("V1", state="voided"))
    ledger = {"acme:V1": ("delivered", "x", "x"), "acme:GONE": ("delivered", "x", "x")}
    result = desk.plan(ledger=ledger)
    assert result.amounts == {"GBP": Decimal("15.1000")}
    assert (result.gone, result.withdrawn, result.is_everything) == (1, 1, True)


def test_a_plan_may_be_about_some_records_only(desk: Desk) -> None:
    desk.till.load(order("O1"), order("O2"), order("O3"))
    result = desk.plan(selection=Selection(keys=("acme:O3", "acme:O1")))
    assert (result.counts, desk.keys()) == ({"send_new": 2}, ["acme:O1", "acme:O3"])


def test_what_does_not_go_there_is_skipped_and_counted_by_reason(desk: Desk) -> None:
    desk.till.load(order("O1"), order("V1", state="voided"), order("V2", state="voided"), order("P", state="open"))
    result = desk.plan()
    assert result.counts == {"send_new": 1, "skipped": 3}
    assert result.skipped == {"voided": 2, "open": 1}
    assert result.source_records == 4


def test_a_record_that_should_not_be_there_any_more_but_is_becomes_visible(desk: Desk) -> None:
    desk.till.load(order("V1", state="voided"))
    result = desk.plan(ledger={"acme:V1": ("delivered", "old", "old")})
    assert result.counts == {"diverged": 1}
    assert (result.notes[0].state, result.notes[0].reason) == ("diverged", "delivered, now: voided")


def test_a_record_that_another_stream_carries_is_no_divergence(desk: Desk) -> None:
    desk.till.load(order())
    history = replace(STREAM, name="receipt_history", history=True, elsewhere="by API")
    result = desk.plan(history, {"acme:O1": ("delivered", "old", "old")})
    assert (result.counts, result.skipped) == ({"skipped": 1}, {"by API": 1})


def test_a_run_may_be_about_business_days(desk: Desk) -> None:
    desk.till.load(*[order(f"O{d}", updated_at=f"2026-11-{d}T10:00:00Z", customer_id=f"C{d}") for d in range(16, 20)])
    desk.till.load(*[customer(f"C{d}") for d in range(15, 20)], entity=CUSTOMERS)
    selection = Selection(business=(date(2026, 11, 17), date(2026, 11, 19)))
    desk.plan(selection=selection)
    assert desk.keys() == ["acme:O17", "acme:O18"]
    people = replace(STREAM, name="people", sql="people.sql", selects="customers")
    desk.plan(people, selection=selection)
    assert desk.keys() == ["acme:C17", "acme:C18"]
    assert desk.planned()[0]["weight"] == 1


def test_a_run_may_be_about_what_loads_of_a_day_touched_and_takes_up_what_is_still_open(desk: Desk) -> None:
    def window(day: int) -> Window:
        return Window(datetime(2026, 11, day, tzinfo=UTC), datetime(2026, 11, day + 1, tzinfo=UTC))

    for day in (16, 17, 18):
        desk.till.load(order(f"O{day}"), window=window(day))
    # Loaded on another day, but this day changed it.
    desk.till.load(order("O16", version=2, updated_at="2026-11-18T12:00:00Z"), window=window(18))
    selection = Selection(touched=(window(18).start, window(18).end))
    desk.plan(selection=selection)
    assert desk.keys() == ["acme:O16", "acme:O18"]
    desk.plan(ledger={"acme:O17": ("pending", "x", None)}, selection=selection)
    assert desk.keys() == ["acme:O16", "acme:O17", "acme:O18"]


@pytest.mark.parametrize("receipts", [0, 21_000])
def test_lines_that_no_load_of_the_receipts_has_brought_are_not_looked_at(desk: Desk, receipts: int) -> None:
    history(desk, receipts)
    desk.till.rows(
        "insert into warehouse.core.transaction_lines select l.* replace (l.line_id || '-other' as line_id, "
        "'another' as load_id) from core.transaction_lines as l where l.transaction_id = 'acme:O1'"
    )
    desk.plan(selection=Selection(business=(date(2026, 11, 18), date(2026, 11, 19))))
    (payload,) = [json.loads(row["payload"]) for row in desk.planned() if row["record_key"] == "acme:O1"]
    assert payload["lines"] == ["Tea", "Cake"]


def test_receipts_are_shaped_in_slices_and_each_is_there_once(desk: Desk) -> None:
    desk.till.load(order("O1"))
    desk.till.rows(
        "insert into warehouse.core.transactions select t.* replace ('acme:N' || n as transaction_id, "
        "cast(date '2024-01-01' + cast(n % 700 as integer) as date) as business_on) "
        "from core.transactions as t, range(25000) as numbers(n)"
    )
    assert desk.plan().counts == {"send_new": 25_001}
    keys = desk.keys()
    assert len(set(keys)) == 25_001
    assert keys == sorted(keys)
    # Small row groups: the sender never holds the whole plan.
    assert pq.ParquetFile(desk.file).metadata.num_row_groups > 5


def history(desk: Desk, receipts: int) -> None:
    """Many receipts with a line each, of seven customers; the first of them was changed last and lies at the end."""
    desk.till.load(order("O1"))
    desk.till.rows(
        "insert into warehouse.core.transactions select t.* replace ('acme:N' || n as transaction_id, "
        f"'acme:C' || n % 7 as customer_id) from core.transactions as t, range({receipts}) as numbers(n)"
    )
    for numbers in (f"range(1, {receipts})", "range(1)"):
        desk.till.rows(
            "insert into warehouse.core.transaction_lines select l.* replace ('acme:N' || n || ':a' as line_id, "
            "'acme:N' || n as transaction_id, 'Tea of ' || n as name) "
            f"from core.transaction_lines as l, {numbers} as numbers(n) where l.line_id = 'acme:O1:a'"
        )


def test_in_slices_every_receipt_has_its_own_lines_wherever_they_lie(desk: Desk) -> None:
    history(desk, 21_000)
    assert desk.plan().counts == {"send_new": 21_001}
    lines = {row["record_key"]: json.loads(row["payload"])["lines"] for row in desk.planned()}
    assert lines.pop("acme:O1") == ["Tea", "Cake"]
    assert lines == {f"acme:N{n}": [f"Tea of {n}"] for n in range(21_000)}


def test_in_slices_the_ledger_is_asked_once_for_what_several_need_and_each_finds_it(desk: Desk) -> None:
    history(desk, 21_000)
    sql = SQL.replace("t.line_count as weight", "t.line_count as weight, t.customer_id as needs_key")
    (desk.folder / "needy.sql").write_text(sql)
    needy = replace(STREAM, sql="needy.sql", needs="people")
    there = {f"acme:C{n}": ("accepted", "h", "h") for n in range(6)}
    assert desk.plan(needy, there=there).counts == {"send_new": 18_001, "waiting": 3_000}
    assert sorted(desk.asked) == [f"acme:C{n}" for n in range(7)]


def test_in_slices_what_needs_no_call_is_noted_and_amounts_are_known(desk: Desk) -> None:
    history(desk, 21_000)
    desk.till.rows(
        "update warehouse.core.transactions set status = 'voided', is_countable = false "
        "where transaction_id = 'acme:N7'"
    )
    desk.till.rows("update warehouse.core.transactions set total_amount = 5000 where transaction_id = 'acme:N20000'")
    days = Selection(business=(date(2026, 11, 18), date(2026, 11, 19)))
    for selection in (EVERYTHING, days):
        result = desk.plan(ledger={"acme:N9": ("accepted", "x", "x"), "acme:N7": ("pending", "x", None)},
                           selection=selection)  # fmt: skip
        assert result.counts == {"send_new": 20_998, "send_changed": 1, "rejected": 1, "skipped": 1}
        assert result.amounts == {"GBP": Decimal("209990.0000")}
        assert {(note.record_key, note.state) for note in result.notes} == {
            ("acme:N20000", "rejected"), ("acme:N7", "skipped")
        }  # fmt: skip
        assert [json.loads(note.payload)["total"] for note in result.notes if note.payload] == [5000]


def test_what_a_dead_plan_left_between_its_slices_is_removed_by_the_next(desk: Desk) -> None:
    rest = desk.till.warehouse.folder / "tmp" / "slices" / "0.arrow"
    rest.parent.mkdir(parents=True)
    rest.write_bytes(b"personal")
    history(desk, 11_000)
    assert desk.plan().to_send == 11_001
    assert not rest.parent.exists()


def test_an_option_that_reaches_the_payload_makes_a_change(desk: Desk) -> None:
    desk.till.load(order())
    before = desk.hash_of()
    assert desk.plan(ledger={"acme:O1": ("delivered", before, before)}, extra="new").counts == {"send_changed": 1}


def test_a_plan_may_lie_in_a_folder_with_a_quote(desk: Desk) -> None:
    desk.till.load(order())
    desk.file = desk.folder / "o'brien" / "plan.parquet"
    assert desk.plan().to_send == 1
    assert desk.keys() == ["acme:O1"]
