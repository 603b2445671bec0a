-- One row per refund that no order carries: money that went back without a return. Key: transaction_id.
-- Fills core.transactions. Square makes an order for a usual refund, and that order tells it; such refunds
-- give no row here. A refund that got its order later is voided, so that it does not count twice.
with unlinked as (
    select raw.*, known.transaction_id is not null and nullif(raw.order_id, '') is not null as has_order
    from raw
    left join core.transactions as known on known.transaction_id = 'square:' || raw.id
    where raw.id is not null and (nullif(raw.order_id, '') is null or known.transaction_id is not null)
),
judged as (
    select
        unlinked.*,
        case
            when has_order or status in ('REJECTED', 'FAILED') then 'voided'
            when status = 'COMPLETED' then 'completed'
            else 'open'
        end as state,
        coalesce(stores.time_zone, getvariable('fallback_time_zone')) as time_zone
    from unlinked
    left join stores on stores.store_id = 'square:' || unlinked.location_id
)
select
    'square:' || j.id as transaction_id,
    'square' as source,
    j.id as source_transaction_id,
    'square:' || j.location_id as store_id,
    null as customer_id,
    null as receipt_number,
    null as channel,
    'return' as transaction_type,
    j.state as status,
    j.state = 'completed' as is_countable,
    false as is_test,
    payments.transaction_id as refund_of_transaction_id,
    j.created_at as opened_at,
    -- A refund has no time of closing; its creation keeps the business day where it was.
    case when j.state <> 'open' then j.created_at end as closed_at,
    date_diff('minute', timezone('UTC', j.created_at), timezone(j.time_zone, j.created_at)) as utc_offset_minutes,
    cast(timezone(j.time_zone, j.created_at) - to_minutes(cast(getvariable('business_day_cutover') as bigint)) as date)
        as business_on,
    j.amount_money.currency as currency,
    -j.amount_money.amount * currencies.factor as gross_amount,
    0 as discount_amount,
    0 as tax_amount,
    0 as tip_amount,
    0 as service_charge_amount,
    0 as rounding_amount,
    -j.amount_money.amount * currencies.factor as total_amount,
    1 as line_count,
    0 as version,
    case
        when j.has_order then 'superseded_by_order'
        when j.status not in ('COMPLETED', 'PENDING', 'REJECTED', 'FAILED') then 'unknown_status'
    end as remark_code,
    j.updated_at as modified_at
from judged as j
left join currencies on currencies.currency = j.amount_money.currency
left join core.payments as payments on payments.payment_id = 'square:' || j.payment_id
