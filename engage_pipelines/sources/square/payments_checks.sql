-- Why a payment cannot be read. Grain: record and reason. Readers: the load's quarantine.
with money as (
    select id, unnest([amount_money, tip_money, total_money, refunded_money]) as money
    from raw
)
select id as record_id, 'missing id' as reason
from raw
where nullif(id, '') is null
union all
select id, 'missing location_id'
from raw
where nullif(location_id, '') is null
union all
select id, 'missing created_at'
from raw
where created_at is null
union all
select id, 'missing updated_at'
from raw
where updated_at is null
union all
select id, 'missing amount_money'
from raw
where amount_money.amount is null or amount_money.currency is null
union all
select distinct id, 'unknown currency ' || left(money.currency, 12)
from money
where money.currency is not null and money.currency not in (select currency from currencies)
union all
select id, 'mixed currencies'
from money
where money.currency in (select currency from currencies)
group by id
having count(distinct money.currency) > 1
union all
select distinct id, 'amount out of range'
from money
where money.amount not between -10_000_000_000_000 and 10_000_000_000_000
