-- One row per Square location. Key: store_id. Fills core.stores.
-- A location has no time of change: its creation stands in. A zone that is no IANA zone would break every
-- business day of the store, so the fallback zone takes its place, with a remark.
with zones as (
    select name
    from pg_timezone_names()
)
select
    'square:' || raw.id as store_id,
    'square' as source,
    raw.id as source_store_id,
    coalesce(nullif(trim(raw.name), ''), raw.id) as name,
    coalesce(zones.name, getvariable('fallback_time_zone')) as time_zone,
    raw.currency,
    coalesce(nullif(raw.country, ''), nullif(raw.address.country, '')) as country_code,
    nullif(trim(raw.address.locality), '') as city,
    nullif(concat_ws(', ', nullif(trim(raw.address.address_line_1), ''),
        nullif(trim(raw.address.address_line_2), '')), '') as street,
    nullif(trim(raw.address.postal_code), '') as postal_code,
    nullif(trim(raw.phone_number), '') as phone,
    coalesce(raw.status, 'ACTIVE') <> 'INACTIVE' as is_active,
    case when zones.name is null then 'unknown_time_zone' end as remark_code,
    coalesce(raw.created_at, timestamptz '1970-01-01 00:00:00+00') as modified_at
from raw
left join zones on zones.name = raw.timezone
where raw.id is not null
