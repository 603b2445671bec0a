-- Why a stock count cannot be read. Grain: record and reason. Readers: the load's quarantine.
with counts as (
    select
        catalog_object_id || ':' || location_id as record_id,
        quantity,
        calculated_at
    from raw
)
select record_id, 'missing catalog_object_id or location_id' as reason
from counts
where record_id is null
union all
select record_id, 'unparseable quantity'
from counts
where try_cast(quantity as decimal(18, 5)) is null
union all
select record_id, 'missing calculated_at'
from counts
where calculated_at is null
