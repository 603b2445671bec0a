"""Cutting a plan into batches: every limit obeyed, every record once, in order."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engage_pipelines.connector import BatchLimits
from engage_pipelines.delivery import cut_batches
from engage_pipelines.delivery.batches import cut, minimal_calls

RECORDS = st.lists(st.tuples(st.integers(2, 60), st.integers(0, 7)), max_size=120)
LIMITS = st.builds(
    BatchLimits, items=st.integers(1, 30), bytes=st.integers(4, 300), lines=st.none() | st.integers(1, 20)
)  # fmt: skip


def measures(records: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    sizes, weights = zip(*records, strict=True) if records else ((), ())
    return np.array(sizes, dtype=np.int64), np.array(weights, dtype=np.int64)


def body_size(sizes: list[int]) -> int:
    """Bytes of a JSON list of payloads: brackets, and a comma between two."""
    return len(b"[" + b",".join(b"x" * size for size in sizes) + b"]")


def fits(records: list[tuple[int, int]], limits: BatchLimits) -> bool:
    return (
        len(records) <= limits.items
        and body_size([size for size, _ in records]) <= limits.bytes
        and (limits.lines is None or sum(weight for _, weight in records) <= limits.lines)
    )


def write_plan(file: Path, records: list[tuple[int, int]], row_group: int = 4096) -> Path:
    keys = [f"k{n:06}" for n in range(len(records))]
    table = pa.table({
        "record_key": pa.array(keys, pa.string()),
        "payload": pa.array(["é" * (s // 2) + "x" * (s % 2) for s, _ in records], pa.string()),
        "payload_hash": pa.array([f"h-{key}" for key in keys], pa.string()),
        "is_in_doubt": pa.array([n % 7 == 3 for n in range(len(keys))], pa.bool_()),
        "changed_to": pa.array([f"new-{key}" if n % 11 == 5 else None for n, key in enumerate(keys)], pa.string()),
        "weight": pa.array([w for _, w in records], pa.int32()),
        "byte_count": pa.array([s for s, _ in records], pa.int64()),
    })  # fmt: skip
    pq.write_table(table, file, row_group_size=row_group)
    return file


@given(RECORDS, LIMITS)
@settings(max_examples=300, deadline=None)
def test_every_batch_keeps_all_limits_or_is_a_single_record(
    records: list[tuple[int, int]], limits: BatchLimits
) -> None:
    for start, end in cut(*measures(records), limits):
        assert fits(records[start:end], limits) or end == start + 1


@given(RECORDS, LIMITS)
@settings(max_examples=300, deadline=None)
def test_nothing_is_lost_or_sent_twice_and_the_order_is_kept(
    records: list[tuple[int, int]], limits: BatchLimits
) -> None:
    ranges = cut(*measures(records), limits)
    assert [n for start, end in ranges for n in range(start, end)] == list(range(len(records)))


@given(RECORDS, LIMITS)
@settings(max_examples=300, deadline=None)
def test_every_batch_is_as_full_as_it_can_be(records: list[tuple[int, int]], limits: BatchLimits) -> None:
    for start, end in cut(*measures(records), limits)[:-1]:
        assert not fits(records[start : end + 1], limits)


def test_a_record_that_is_over_a_limit_by_itself_travels_alone() -> None:
    assert cut(*measures([(5, 1), (500, 1), (5, 99), (5, 1)]), BatchLimits(10, 100, 10)) == [
        (0, 1), (1, 2), (2, 3), (3, 4),
    ]  # fmt: skip


def test_a_body_may_be_exactly_as_large_as_allowed() -> None:
    assert cut(*measures([(3, 1)] * 3), BatchLimits(10, body_size([3, 3, 3]))) == [(0, 3)]
    assert cut(*measures([(3, 1)] * 3), BatchLimits(10, body_size([3, 3, 3]) - 1)) == [(0, 2), (2, 3)]


@given(RECORDS, LIMITS, st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_reading_a_plan_piece_by_piece_cuts_it_like_the_whole(
    records: list[tuple[int, int]], limits: BatchLimits, row_group: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plan = write_plan(Path(folder) / "plan.parquet", records, row_group)
        batches = list(cut_batches(plan, limits))
        least = minimal_calls(plan, limits)
    keys = [f"k{n:06}" for n in range(len(records))]
    assert [b.keys for b in batches] == [tuple(keys[s:e]) for s, e in cut(*measures(records), limits)]
    assert all(b.hashes == tuple(f"h-{key}" for key in b.keys) for b in batches)
    assert [len(p) for b in batches for p in b.payloads] == [size for size, _ in records]
    assert least <= len(batches)


def test_a_plan_of_several_pieces_is_cut_across_their_borders(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.parquet", [(10, 1)] * 10_000)
    assert [len(b.keys) for b in cut_batches(plan, BatchLimits(items=3000))] == [3000, 3000, 3000, 1000]


@pytest.mark.parametrize(
    ("limits", "least"),
    [(BatchLimits(100), 10), (BatchLimits(5000), 1), (BatchLimits(5000, 2500), 4), (BatchLimits(5000, 10**6, 300), 7)],
)
def test_the_least_number_of_calls_follows_from_the_tightest_limit(
    tmp_path: Path, limits: BatchLimits, least: int
) -> None:
    plan = write_plan(tmp_path / "plan.parquet", [(10, 2)] * 1000)
    assert minimal_calls(plan, limits) == least


def test_an_empty_plan_needs_no_call(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.parquet", [])
    assert minimal_calls(plan, BatchLimits()) == 0
    assert list(cut_batches(plan, BatchLimits())) == []


def test_a_batch_has_the_same_name_whenever_it_is_cut_again_and_its_parts_have_others(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.parquet", [(10, 1)] * 5)
    (first,), (second,) = (list(cut_batches(plan, BatchLimits(10))) for _ in range(2))
    left, right = first.part(0, 2), first.part(2, 5)
    assert first == second
    assert (left.keys + right.keys, left.payloads + right.payloads) == (first.keys, first.payloads)
    assert len({first.id, left.id, right.id}) == 3
    assert first.table().column_names == ["record_key", "payload"]


@pytest.mark.parametrize("items", [1, 3, 700, 1500, 5000])
def test_each_batch_has_what_is_its_own(items: int, tmp_path: Path) -> None:
    # More than are taken out of a plan together, and more than one piece of it.
    plan = write_plan(tmp_path / "plan.parquet", [(5, 1)] * 5200)
    batches = list(cut_batches(plan, BatchLimits(items=items, bytes=10**9)))
    assert sum(len(batch.keys) for batch in batches) == 5200
    for batch in batches:
        numbers = [int(key[1:]) for key in batch.keys]
        assert batch.hashes == tuple(f"h-{key}" for key in batch.keys)
        assert batch.in_doubt == {f"k{n:06}" for n in numbers if n % 7 == 3}
        assert batch.changed_to == {f"k{n:06}": f"new-k{n:06}" for n in numbers if n % 11 == 5}
        assert batch.table()["record_key"].to_pylist() == list(batch.keys)
