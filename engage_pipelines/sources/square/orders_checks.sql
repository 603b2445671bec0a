-- Why an order cannot be read. Grain: record and reason. Readers: the load's quarantine.
-- Per part of an order the least and the greatest currency and amount are kept: enough to tell whether all
-- are known, the same and storable, without one row per amount.
with sold as (
    select id, unnest(line_items) as line
    from raw
),
returned as (
    select id, unnest(entry.return_line_items) as line
    from (select id, unnest(returns) as entry from raw)
),
paid as (
    select id, unnest(tenders) as tender
    from raw
),
refunded as (
    select id, unnest(refunds) as refund
    from raw
),
charged as (
    select id, unnest(service_charges) as charge
    from raw
),
spans as (
    select
        id,
        least(line.base_price_money.currency, line.gross_sales_money.currency, line.total_money.currency,
            line.total_discount_money.currency, line.total_tax_money.currency) as low_currency,
        greatest(line.base_price_money.currency, line.gross_sales_money.currency, line.total_money.currency,
            line.total_discount_money.currency, line.total_tax_money.currency) as high_currency,
        least(line.base_price_money.amount, line.gross_sales_money.amount, line.total_money.amount,
            line.total_discount_money.amount, line.total_tax_money.amount) as low_amount,
        greatest(line.base_price_money.amount, line.gross_sales_money.amount, line.total_money.amount,
            line.total_discount_money.amount, line.total_tax_money.amount) as high_amount
    from sold
    union all
    select
        id,
        least(line.base_price_money.currency, line.gross_return_money.currency, line.total_money.currency),
        greatest(line.base_price_money.currency, line.gross_return_money.currency, line.total_money.currency),
        least(line.base_price_money.amount, line.gross_return_money.amount, line.total_money.amount),
        greatest(line.base_price_money.amount, line.gross_return_money.amount, line.total_money.amount)
    from returned
    union all
    select
        id, tender.amount_money.currency, tender.amount_money.currency,
        least(tender.amount_money.amount, tender.tip_money.amount),
        greatest(tender.amount_money.amount, tender.tip_money.amount)
    from paid
    union all
    select
        id, refund.amount_money.currency, refund.amount_money.currency, refund.amount_money.amount,
        refund.amount_money.amount
    from refunded
    union all
    select
        id, charge.total_money.currency, charge.total_money.currency, charge.total_money.amount,
        charge.total_money.amount
    from charged
    union all
    select
        id,
        least(total_money.currency, net_amounts.total_money.currency, return_amounts.total_money.currency),
        greatest(total_money.currency, net_amounts.total_money.currency, return_amounts.total_money.currency),
        least(total_money.amount, net_amounts.total_money.amount, return_amounts.total_money.amount,
            total_tip_money.amount, rounding_adjustment.amount_money.amount),
        greatest(total_money.amount, net_amounts.total_money.amount, return_amounts.total_money.amount,
            total_tip_money.amount, rounding_adjustment.amount_money.amount)
    from raw
),
money as (
    select
        id,
        min(low_currency) as low_currency,
        max(high_currency) as high_currency,
        min(low_amount) as low_amount,
        max(high_amount) as high_amount
    from spans
    group by id
),
line_uids as (
    select id, line.uid as uid
    from sold
    union all
    select id, line.uid
    from returned
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
select distinct id, 'unparseable quantity'
from (select id, line.quantity as quantity from sold union all select id, line.quantity from returned)
where try_cast(quantity as decimal(18, 5)) is null
union all
select distinct id, 'line without price'
from sold
where coalesce(line.gross_sales_money.amount, line.variation_total_price_money.amount, line.base_price_money.amount,
    line.total_money.amount) is null
union all
select distinct id, 'returned line without price'
from returned
where coalesce(line.gross_return_money.amount, line.variation_total_price_money.amount, line.base_price_money.amount,
    line.total_money.amount) is null
union all
select distinct id, 'repeated line uid'
from line_uids
where nullif(uid, '') is not null
group by id, uid
having count(*) > 1
union all
select id, 'unknown currency ' || left(low_currency, 12)
from money
where low_currency not in (select currency from currencies)
union all
select id, 'unknown currency ' || left(high_currency, 12)
from money
where high_currency not in (select currency from currencies) and high_currency <> low_currency
union all
select id, 'mixed currencies'
from money
where low_currency <> high_currency
    and low_currency in (select currency from currencies)
    and high_currency in (select currency from currencies)
union all
select id, 'missing currency'
from money
join raw using (id)
left join stores on stores.store_id = 'square:' || raw.location_id
where low_currency is null and stores.currency is null
union all
select id, 'amount out of range'
from money
where low_amount < -10_000_000_000_000 or high_amount > 10_000_000_000_000
