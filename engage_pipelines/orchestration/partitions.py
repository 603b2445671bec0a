"""Partitions: days of the operator for pulls, loads and live deliveries; months for the history migration."""

from __future__ import annotations

from datetime import date, timedelta

import dagster as dg

from engage_pipelines.operations import Desk

HISTORY_MONTHS = 24
# Where nothing is configured yet, the definitions still have to load.
_NO_HISTORY_FROM = date(2024, 1, 1)


def daily(desk: Desk) -> dg.DailyPartitionsDefinition:
    """One partition per day of the operator, from the earliest day any till is asked for."""
    starts = [desk.settings.sources[s.name].history_from for s in desk.sources]
    first = min(starts, default=_NO_HISTORY_FROM)
    return dg.DailyPartitionsDefinition(start_date=first.isoformat(), timezone=desk.settings.operator.time_zone)


def months_before(go_live_on: date, time_zone: str) -> dg.TimeWindowPartitionsDefinition:
    """The 24 months before go-live; the last one ends on the day before, wherever in the month that is."""
    first = go_live_on.replace(day=1)
    if go_live_on.day > 1:
        first = _month_later(first)
    year, month = divmod(first.year * 12 + first.month - 1 - HISTORY_MONTHS, 12)
    return dg.MonthlyPartitionsDefinition(
        start_date=date(year, month + 1, 1).isoformat(), end_date=first.isoformat(), timezone=time_zone
    )


def days_of(context: dg.AssetExecutionContext) -> tuple[date, date]:
    """First and last day of the partitions that a step runs for."""
    keys = context.partition_key_range
    return date.fromisoformat(keys.start), date.fromisoformat(keys.end)


def business_range(context: dg.AssetExecutionContext, go_live_on: date) -> tuple[date, date]:
    """The business days `[first, end)` of a month partition, never reaching go-live."""
    window = context.partition_time_window
    return window.start.date(), min(window.end.date(), go_live_on)


def each_day(first: date, end: date) -> list[str]:
    """Partition keys of the days `[first, end)`."""
    return [(first + timedelta(days=n)).isoformat() for n in range((end - first).days)]


def _month_later(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)
