"""What a vendor account allows, as data: rates and requests in flight, and how people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from engage_pipelines.errors import ConfigError

_UNITS = {"s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0,
          "h": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0}  # fmt: skip
_RATE = re.compile(r"^\s*([\d_]+)\s*/\s*(\d*)\s*([a-z]+)\s*$")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `requests` in any `seconds` long stretch of time."""

    requests: int
    seconds: float

    def __str__(self) -> str:
        """The notation of engage.toml, e.g. `5/s`, `120/min`, `2000/h`."""
        names = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "d"}
        return f"{self.requests}/{names.get(self.seconds, f'{self.seconds:g}s')}"


def parse_rate(text: str) -> Rate:
    """Read `5/s`, `120/min`, `2000/h`, `90000/day` or `100/10s`.

    Raises:
        ConfigError: the text is not of that form.
    """
    found = _RATE.match(text.lower().replace(",", ""))
    requests = int(found[1].replace("_", "") or 0) if found else 0
    seconds = float(found[2] or 1) * _UNITS.get(found[3], 0) if found else 0
    if not requests or not seconds:
        raise ConfigError(f"rate {text!r}: write <requests>/<s|min|h|day>, e.g. 5/s or 2000/h")
    return Rate(requests, seconds)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a vendor account allows: rates that hold together, and requests in flight at once.

    Attributes:
        rates: all of them hold at any time.
        in_flight: requests under way at once.
        shared: file by which all processes of this account keep all of it, pauses and outages together;
            None: this client alone.
    """

    rates: tuple[Rate, ...] = ()
    in_flight: int = 4
    shared: Path | None = None
