-- One row per variation and location: what is in stock now. Key: product_id, store_id.
-- Fills core.inventory_levels. Other states (sold, waste, in transit) are not stock and are not asked for.
select
    'square:' || catalog_object_id as product_id,
    'square:' || location_id as store_id,
    'square' as source,
    try_cast(quantity as decimal(18, 5)) as quantity,
    case when try_cast(quantity as decimal(18, 5)) < 0 then 'negative_quantity' end as remark_code,
    calculated_at as modified_at
from raw
where catalog_object_id is not null and location_id is not null and coalesce(state, 'IN_STOCK') = 'IN_STOCK'
qualify row_number() over (partition by catalog_object_id, location_id order by calculated_at desc) = 1
