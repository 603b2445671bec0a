"""Shops to fill the Square stand-in with: a made-up one, and a real seller's public invoice lines."""

from engage_pipelines.sandbox.shops.made_up import fill_made_up_shop
from engage_pipelines.sandbox.shops.online_retail import fill_from_online_retail
from engage_pipelines.sandbox.square import SquareStandIn

__all__ = ["fill_from_online_retail", "fill_made_up_shop", "is_empty"]


def is_empty(stand_in: SquareStandIn) -> bool:
    """Whether the till was never filled: a shop has at least one location."""
    return not stand_in.store.location_ids()
