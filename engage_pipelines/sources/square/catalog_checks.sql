-- Why a catalogue object cannot be read. Grain: record and reason. Readers: the load's quarantine.
-- A variation inside an item is named by its own id, so that one bad variation does not take the item along.
with variations as (
    select id, updated_at, item_variation_data as data
    from raw
    where type = 'ITEM_VARIATION'
    union all
    select variation.id, coalesce(variation.updated_at, updated_at), variation.item_variation_data
    from (select updated_at, unnest(item_data.variations) as variation from raw where type = 'ITEM')
),
money as (
    select id, unnest([data.price_money, data.vendor_information[1].unit_cost_money]) as money
    from variations
)
select id as record_id, 'missing id' as reason
from raw
where nullif(id, '') is null
union all
select distinct id, 'missing id of a variation'
from variations
where nullif(id, '') is null
union all
select distinct id, 'missing updated_at'
from variations
where updated_at is null
union all
select distinct id, 'unknown currency ' || left(money.currency, 12)
from money
where money.currency is not null and money.currency not in (select currency from currencies)
union all
select distinct id, 'amount out of range'
from money
where money.amount not between -10_000_000_000_000 and 10_000_000_000_000
