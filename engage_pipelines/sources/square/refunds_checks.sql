-- Why a refund that no order carries cannot become a receipt. Grain: record and reason.
-- Readers: the load's quarantine. Refunds with an order fill nothing here, so little is asked of them.
with unlinked as (
    select *
    from raw
    where nullif(order_id, '') is null
)
select id as record_id, 'missing id' as reason
from raw
where nullif(id, '') is null
union all
select id, 'missing location_id'
from unlinked
where nullif(location_id, '') is null
union all
select id, 'missing created_at'
from unlinked
where created_at is null
union all
select id, 'missing updated_at'
from raw
where updated_at is null
union all
select id, 'missing amount_money'
from unlinked
where amount_money.amount is null or amount_money.currency is null
union all
select unlinked.id, 'unknown currency ' || left(unlinked.amount_money.currency, 12)
from unlinked
anti join currencies on currencies.currency = unlinked.amount_money.currency
where unlinked.amount_money.currency is not null
union all
select id, 'amount out of range'
from unlinked
where amount_money.amount not between -10_000_000_000_000 and 10_000_000_000_000
