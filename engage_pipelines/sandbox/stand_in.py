"""The shape of a stand-in, and what it may offer beyond that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from starlette.responses import Response
from starlette.routing import Route

from engage_pipelines.sandbox.faults import Fault
from engage_pipelines.sandbox.rows import Rows


class StandIn(Protocol):
    """What every stand-in is.

    Attributes:
        name: mount prefix, `/<name>`.
        rates: (requests, seconds) pairs that the vendor declares and the frame enforces.
        in_flight: requests at once that the vendor asks callers to stay within; counted, not enforced.
    """

    name: str
    rates: tuple[tuple[int, float], ...]
    in_flight: int

    def routes(self) -> list[Route]:
        """The vendor's API, below the mount."""
        ...

    def throttled(self, retry_after: float | None) -> Response:
        """The vendor's 429."""
        ...

    def report(self) -> dict[str, Any]:
        """What it holds: counts, and amounts as exact decimal strings."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


@runtime_checkable
class HoldsRecords(Protocol):
    """A stand-in that lists its records under `/_sandbox/<vendor>/records/<kind>`."""

    def records(self, kind: str, offset: int, limit: int) -> dict[str, Any] | None:
        """One page of what it holds, each with `times_received`; None for an unknown kind."""
        ...


@runtime_checkable
class ActsOutFaults(Protocol):
    """A stand-in that has its own form of saying no in a 200 or of refusing a credential."""

    def fault_answer(self, fault: Fault) -> Response:
        """The answer for the kinds `ok_with_failure` and `expired_token`."""
        ...


@runtime_checkable
class HasSwitches(Protocol):
    """A stand-in with further routes below `/_sandbox/<vendor>/`."""

    def switches(self) -> list[Route]:
        """Those routes."""
        ...


@runtime_checkable
class NamesRows(Protocol):
    """A stand-in that says itself which records its routes take; for the others `rows.ROWS` does."""

    def rows(self) -> Mapping[str, Rows]:
        """`METHOD template` -> the rows of such a call."""
        ...


@runtime_checkable
class RefusesCalls(Protocol):
    """A stand-in that has its own form of refusing a whole call; without one it is a bare 400."""

    def refusal(self, message: str) -> Response:
        """The refusal of a call whose content the vendor does not take."""
        ...
