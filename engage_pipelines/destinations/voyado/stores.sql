-- Grain: one row per store of `selected`. Key: record_key = store_id. Reader: the stream `stores`.
-- The name an operator gives a store for this platform is its externalId there, else the till's own id.
-- Two tills of one shop may share a name: the first one speaks for the shop.
with named as (
    select
        s.store_id,
        coalesce(n.store_name, s.source_store_id) as external_id,
        row_number() over (
            partition by coalesce(n.store_name, s.source_store_id)
            order by s.store_id
        ) as place
    from core.stores as s
    left join store_names as n on n.store_id = s.store_id
)

select
    s.store_id as record_key,
    json_merge_patch('{}', to_json({
        externalId: named.external_id,
        name: s.name,
        type: getvariable('store_type'),
        timeZone: s.time_zone,
        countryCode: nullif(trim(s.country_code), ''),
        city: nullif(trim(s.city), ''),
        street: nullif(trim(s.street), ''),
        zipCode: nullif(trim(s.postal_code), ''),
        phoneNumber: nullif(trim(s.phone), ''),
        active: s.is_active
    }))::varchar as payload,
    case when named.place > 1 then 'another store has the same name there' end as skipped_reason,
    null::varchar as rejected_reason
from selected as s
inner join named on named.store_id = s.store_id
