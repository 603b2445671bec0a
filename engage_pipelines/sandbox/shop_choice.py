"""Which shop Square's till is filled with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engage_pipelines.sandbox.stand_in import StandIn

SHOPS = ("made-up", "online-retail", "none")


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop to fill the till with.

    Attributes:
        kind: `made-up`, `online-retail` (real invoice lines from `retail_parquet`) or `none`.
        receipts: receipts of the made-up shop.
        seed: start of its chance.
        retail_parquet: the real shop's file.
    """

    kind: str = "made-up"
    receipts: int = 20_000
    seed: int = 7
    retail_parquet: Path | None = None


def fill_shop(stand_ins: Sequence[StandIn], shop: Shop, progress: Callable[[int, int], None] | None) -> None:
    """Fill Square's till, unless it was filled before or no shop is wanted.

    Raises:
        ValueError: an unknown shop, or the real one without its file.
    """
    if shop.kind == "none":
        return
    if shop.kind not in SHOPS:
        raise ValueError(f"shop {shop.kind!r}: one of {', '.join(SHOPS)}")
    if shop.kind == "online-retail" and shop.retail_parquet is None:
        raise ValueError("the shop online-retail needs retail_parquet")
    # Only whoever wants a shop pays for what makes one.
    from engage_pipelines.sandbox.shops import fill_from_online_retail, fill_made_up_shop, is_empty
    from engage_pipelines.sandbox.square import SquareStandIn

    till = next((one for one in stand_ins if isinstance(one, SquareStandIn)), None)
    if till is None or not is_empty(till):
        return
    if shop.retail_parquet is not None and shop.kind == "online-retail":
        fill_from_online_retail(till, shop.retail_parquet, progress)
    else:
        fill_made_up_shop(till, receipts=shop.receipts, seed=shop.seed, progress=progress)
