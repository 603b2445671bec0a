"""Products to deliver: the same made-up catalogue for every contender."""

from __future__ import annotations

# One row per product; `{count}` is how many.
PRODUCTS = """
    select
        'square:P' || lpad(i::varchar, 9, '0') as product_id,
        'P' || lpad(i::varchar, 9, '0') as source_product_id,
        'SKU-' || lpad(i::varchar, 9, '0') as sku,
        'Product number ' || i || ', in its usual size' as name,
        'family-' || i % 50 as category,
        cast(1 + (i * 37 % 5000) / 100.0 as decimal(18, 4)) as price_amount
    from range({count}) as made(i)
"""


def products_sql(count: int) -> str:
    """A SELECT of so many products."""
    return PRODUCTS.format(count=count)
