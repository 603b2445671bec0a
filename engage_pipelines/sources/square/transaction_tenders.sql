-- One row per payment or refund inside an order. Key: tender_id. Fills core.transaction_tenders.
-- A tender's amount includes its tip. Refunds are negative, and only those of an order that returns
-- something count: a sale that merely mentions its later refund would else be refunded twice.
-- Not materialized: the orders' lists would be in memory a second time.
with orders as not materialized (
    select
        raw.id, raw.tenders, raw.refunds, raw.returns, raw.return_amounts, raw.line_items,
        coalesce(raw.total_money.currency, raw.net_amounts.total_money.currency, stores.currency) as currency
    from raw
    left join stores on stores.store_id = 'square:' || raw.location_id
    where raw.id is not null
),
paid as (
    select id, currency, unnest(tenders) as tender, generate_subscripts(tenders, 1) as position
    from orders
),
tenders as not materialized (
    select
        id, currency,
        coalesce(nullif(tender.payment_id, ''), nullif(tender.id, ''), id || ':tender-' || position) as tender_id,
        case tender.type
            when 'CARD' then 'card'
            when 'THIRD_PARTY_CARD' then 'card'
            when 'CASH' then 'cash'
            when 'SQUARE_GIFT_CARD' then 'gift_card'
            when 'BANK_ACCOUNT' then 'bank'
            when 'WALLET' then 'wallet'
            when 'SQUARE_ACCOUNT' then 'wallet'
            else 'other'
        end as tender_type,
        tender.amount_money as money,
        coalesce(tender.amount_money.amount, 0) as amount,
        coalesce(tender.tip_money.amount, 0) as tip,
        tender.created_at as paid_at
    from paid
),
refunded as (
    select id, currency, unnest(refunds) as refund, generate_subscripts(refunds, 1) as position
    from orders
    where len(returns) > 0 or coalesce(return_amounts.total_money.amount, 0) <> 0
        or coalesce(len(line_items), 0) = 0
),
refunded_tenders as (
    select distinct 'square:' || refund.tender_id as tender_id
    from refunded
),
known_types as (
    select tender_id, any_value(tender_type) as tender_type
    from (
        select 'square:' || tender_id as tender_id, tender_type
        from tenders
        where 'square:' || tender_id in (from refunded_tenders)
        union all
        select known.tender_id, known.tender_type
        from core.transaction_tenders as known
        where known.tender_id in (from refunded_tenders)
    )
    group by tender_id
),
returned_tips as (
    select id, tip.source_tender_id as tender_id, sum(tip.applied_money.amount) as tip
    from (
        select id, unnest(entry.return_tips) as tip
        from (select id, unnest(returns) as entry from orders)
    )
    group by id, tip.source_tender_id
),
refunds as (
    select
        refunded.id, refunded.currency,
        coalesce(nullif(refund.id, ''), refunded.id || ':refund-' || position) as tender_id,
        coalesce(known_types.tender_type, 'other') as tender_type,
        refund.amount_money as money,
        -coalesce(refund.amount_money.amount, 0) as amount,
        -- Two refunds of one tender: the tip went back once.
        case
            when row_number() over (partition by refunded.id, refund.tender_id order by position) = 1
                then -coalesce(returned_tips.tip, 0)
            else 0
        end as tip,
        refund.created_at as paid_at
    from refunded
    left join known_types on known_types.tender_id = 'square:' || refund.tender_id
    left join returned_tips on returned_tips.id = refunded.id and returned_tips.tender_id = refund.tender_id
    where coalesce(refund.status, 'APPROVED') not in ('REJECTED', 'FAILED')
),
moved as (
    select *
    from tenders
    union all
    select *
    from refunds
)
select
    'square:' || moved.tender_id as tender_id,
    'square:' || moved.id as transaction_id,
    'square' as source,
    moved.tender_id as source_tender_id,
    moved.tender_type,
    currencies.currency,
    moved.amount * currencies.factor as amount,
    moved.tip::bigint * currencies.factor as tip_amount,
    moved.paid_at
from moved
left join currencies on currencies.currency = coalesce(moved.money.currency, moved.currency)
