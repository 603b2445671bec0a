"""A client on a fake clock, and a vendor that answers it from a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from engage_pipelines.http_client import RetryPolicy, VendorClient
from engage_pipelines_tests.fake_clock import FakeClock
from engage_pipelines_tests.scripted_vendor import Script, ScriptedVendor, scripted_vendor

KEY = "key-of-the-shop-0815"
POLICY = RetryPolicy(attempts=4, first_wait=1.0, jitter=lambda: 1.0, patience=600)


class Vendor:
    """A scripted vendor and a client of it on a fake clock."""

    def __init__(self, scripted: ScriptedVendor, **options: Any) -> None:
        self.scripted = scripted
        self.clock = FakeClock()
        self.client = VendorClient(
            "acme", scripted.url, headers={"apikey": KEY}, secrets=(KEY,), **{"retry": POLICY, **options},
            sleep=self.clock.sleep, monotonic=self.clock.monotonic, now=self.clock.now,
        )  # fmt: skip


Serve = Callable[..., Vendor]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a vendor with a script and a client for it."""
    opened: list[AbstractContextManager[Any]] = []

    def start(*script: Script, **options: Any) -> Vendor:
        served = scripted_vendor(*script)
        vendor = Vendor(served.__enter__(), **options)
        opened.extend((served, vendor.client))
        return vendor

    yield start
    for each in reversed(opened):
        each.__exit__(None, None, None)
