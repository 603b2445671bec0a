"""The table `[destinations.crmcom]` of engage.toml; docs/connectors/crmcom.md explains each key."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from engage_pipelines.connector import Options


class CrmComOptions(Options):
    """Where the installation lives and how products are written for it."""

    base_url: str = Field(min_length=1)
    api_path: str = "/crmapi/rest/v2"
    unit: str = ""
    release_17: bool = True
    synchronisation_definition: str = Field("Product_Sync", min_length=1)
    family_field: Literal["category", "none"] = "category"
    send_brand: bool = False
    send_long_description: bool = False
    send_price: bool = False
    rate_model: str = Field("QUANTITYBASED", min_length=1)
    already_exists_codes: tuple[str, ...] = ()
    timeout_seconds: float = Field(120.0, gt=0)
