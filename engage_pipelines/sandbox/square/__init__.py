"""Square stand-in: the part of Square's Connect API that a pull needs, over a till kept in one SQLite file.

Written from the published contract (API 2025-08-20), to try a connector over real sockets with no account.
What the contract leaves open is decided here, each decision once and named:

* `Till.order_page_limit`: a page of orders holds 500 at most, although 1,000 may be asked for.
* `Till.count_page_default`: inventory counts in a page when the caller names no limit.
* `stand_in.check_version`: a call without `Square-Version` is refused; Square takes the application's version.
* `orders._known_locations`: an unknown location is refused with 403 instead of being silently empty.
* ends of the payment, refund and customer ranges are inclusive.
* customers come in the order of their creation, whatever sort field is named.
* filters that no pull uses are refused with 501, so that a caller never takes an unfiltered answer for a filtered one.

An empty list is left out of an answer, as Square does: `{}` is a valid page without records.
"""

from engage_pipelines.sandbox.square.stand_in import SquareStandIn

__all__ = ["SquareStandIn"]
