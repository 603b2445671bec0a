"""A session at one AIQ account: the options, the client and the paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from pydantic import Field

from engage_pipelines.connector import Options
from engage_pipelines.http_client import Limits, VendorClient

API_KEY = "AIQ_API_KEY"


class AiqOptions(Options):
    """The table `[destinations.aiq]` of engage.toml; each key is explained in docs/connectors/aiq.md."""

    uid: str = Field(min_length=1)
    base_url: str = "https://lab.alpineiq.com"
    api_path: str = "/api/v1.1"
    anonymous_pos_user: str = "anonymous"
    send_notification: bool = False
    pos_type: Literal["omit", "channel", "location"] = "omit"
    include_tips: bool = False
    total_includes_tax: bool = True
    price_basis: Literal["unit", "line"] = "unit"
    margin_unit: Literal["fraction", "percent"] = "fraction"
    ten_digit_phones: bool = True
    send_email_opt_out: bool = True
    bulk_envelope: bool = True
    source_id_search: str = "srcID:"
    phone_search: str = "mobilePhone:"


@dataclass(frozen=True, slots=True)
class Session:
    """What the streams send with: the client of one AIQ account and its options."""

    client: VendorClient
    options: AiqOptions

    def path(self, route: str) -> str:
        """The path of a route, which always ends with the account id."""
        return f"{self.options.api_path.strip('/')}/{route}/{quote(self.options.uid, safe='')}"


def connect(options: AiqOptions, secrets: Mapping[str, str], limits: Limits) -> Session:
    """Open a session; no call is made."""
    key = secrets[API_KEY]
    client = VendorClient("AIQ", options.base_url, headers={"x-apikey": key}, limits=limits, secrets=(key,))
    return Session(client, options)
