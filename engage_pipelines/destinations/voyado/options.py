"""The settings of `[destinations.voyado]` in engage.toml. No behaviour beyond checking them."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from engage_pipelines.connector import Options

MatchKeyType = Literal["externalId", "email", "mobilePhone", "memberNumber"]
_CURRENCY = re.compile(r"^[A-Z]{3}$")


class VoyadoOptions(Options):
    """What a Voyado Engage tenant needs to know; each key is explained in docs/connectors/voyado.md."""

    base_url: str
    group_currency: str
    go_live_on: date
    source: str = "POS"
    contact_type: str = "Member"
    match_key_type: MatchKeyType = "externalId"
    contact_store: str | None = None
    country_code: str | None = None
    exchange_rates: dict[str, str] = Field(default_factory=dict)
    include_tips: bool = False
    service_charge_sku: str = "SERVICE-CHARGE"
    rounding_sku: str = "ROUNDING"
    tip_sku: str = "TIP"
    custom_sku: str = "CUSTOM"
    payment_types: dict[str, str] = Field(default_factory=dict)
    store_type: str = "retail"
    store_update_method: Literal["POST", "PATCH"] = "POST"
    correct_diverged: bool = False
    customer_notifications: bool = False
    drop: str = "folder:data/outbox/voyado"
    contact_folder: str = "integration/contactImport"
    transaction_folder: str = "integration/transactionImport"
    sftp_known_hosts: Path | None = None
    sftp_host_key: str | None = None
    sftp_key_file: Path | None = None
    retry_attempts: int = Field(default=4, ge=1)
    retry_first_wait: float = Field(default=10.0, ge=0)

    @field_validator("group_currency")
    @classmethod
    def _a_currency_code(cls, value: str) -> str:
        if not _CURRENCY.match(value):
            raise ValueError("write the ISO 4217 code, e.g. GBP")
        return value

    @field_validator("exchange_rates")
    @classmethod
    def _positive_rates(cls, value: dict[str, str]) -> dict[str, str]:
        for currency, rate in value.items():
            if not _CURRENCY.match(currency) or not _is_rate(rate):
                raise ValueError(f'{currency}: write CODE = "rate" with a positive decimal of at most 8 places')
        return value


def _is_rate(text: str) -> bool:
    try:
        rate = Decimal(text)
    except InvalidOperation:
        return False
    exponent = rate.as_tuple().exponent
    return rate.is_finite() and Decimal(0) < rate < Decimal(10) ** 10 and isinstance(exponent, int) and exponent >= -8
