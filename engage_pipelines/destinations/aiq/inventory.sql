-- Grain: one row per selected product and store. Key: record_key = product_id|store_id.
-- Read by: stream aiq/inventory. Stock is absolute: what is on the shelf now, not a movement.
with levels as (
    select
        i.product_id,
        i.store_id,
        nullif(trim(p.sku), '') as sku,
        coalesce(p.is_active, false) as is_active,
        coalesce(nullif(trim(n.store_name), ''), nullif(trim(o.name), '')) as location
    from core.inventory_levels as i
    left join core.products as p on p.product_id = i.product_id
    left join core.stores as o on o.store_id = i.store_id
    left join store_names as n on n.store_id = i.store_id
),

-- AIQ knows stock by SKU and location. Of two products that share both, the later call would overwrite
-- the earlier one, so that the stock would depend on the order of sending: one goes, always the same one.
owners as (
    select
        sku,
        location,
        min(product_id) as product_id
    from levels
    where is_active and sku is not null and location is not null
    group by sku, location
),

items as (
    select
        s.product_id,
        s.store_id,
        s.quantity,
        p.product_id is not null as is_known,
        l.is_active,
        l.sku,
        l.location,
        p.name,
        nullif(trim(p.category), '') as category,
        nullif(trim(p.brand), '') as brand,
        p.price_amount as price,
        p.cost_amount as cost,
        -- A share, not money; what does not fit its type is left out, not rounded into something else.
        try_cast(
            (p.price_amount - p.cost_amount) / nullif(p.price_amount, 0)
            * if(getvariable('margin_unit') = 'percent', 100, 1) as decimal(18, 4)
        ) as margin
    from selected as s
    inner join levels as l on l.product_id = s.product_id and l.store_id = s.store_id
    left join core.products as p on p.product_id = s.product_id
)

select
    i.product_id || '|' || i.store_id as record_key,
    '{' || concat_ws(
        ',',
        '"sku":' || to_json(i.sku),
        '"productID":' || to_json(i.product_id),
        '"name":' || to_json(nullif(trim(i.name), '')),
        '"category":' || to_json(i.category),
        '"brand":' || to_json(i.brand),
        '"price":' || to_json(i.price),
        '"cost":' || to_json(i.cost),
        '"margin":' || to_json(i.margin),
        '"quantity":' || to_json(i.quantity),
        '"location":' || to_json(i.location)
    ) || '}' as payload,
    case when i.is_known and not i.is_active then 'inactive product' end as skipped_reason,
    case
        when skipped_reason is not null then null
        when not i.is_known then 'product unknown'
        when i.sku is null then 'no sku'
        when i.location is null then 'store unknown'
        when o.product_id <> i.product_id then 'duplicate sku at this location: same as ' || o.product_id
    end as rejected_reason
from items as i
left join owners as o on o.sku = i.sku and o.location = i.location
