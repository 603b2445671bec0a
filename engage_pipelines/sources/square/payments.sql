-- One row per payment. Key: payment_id (equals tender_id of the tender it paid). Fills core.payments.
-- A payment's amount is without the tip, a tender's is with it: never add the two.
select
    'square:' || raw.id as payment_id,
    'square' as source,
    raw.id as source_payment_id,
    'square:' || nullif(raw.order_id, '') as transaction_id,
    'square:' || raw.location_id as store_id,
    case raw.status
        when 'COMPLETED' then 'completed'
        when 'CANCELED' then 'failed'
        when 'FAILED' then 'failed'
        else 'pending'
    end as status,
    raw.amount_money.currency as currency,
    raw.amount_money.amount * currencies.factor as amount,
    coalesce(raw.tip_money.amount, 0) * currencies.factor as tip_amount,
    coalesce(raw.total_money.amount, raw.amount_money.amount + coalesce(raw.tip_money.amount, 0))
        * currencies.factor as total_amount,
    coalesce(raw.refunded_money.amount, 0) * currencies.factor as refunded_amount,
    nullif(trim(raw.receipt_number), '') as receipt_number,
    raw.created_at as paid_at,
    case when raw.status not in ('COMPLETED', 'CANCELED', 'FAILED', 'APPROVED', 'PENDING') then 'unknown_status' end
        as remark_code,
    raw.updated_at as modified_at
from raw
left join currencies on currencies.currency = raw.amount_money.currency
where raw.id is not null
