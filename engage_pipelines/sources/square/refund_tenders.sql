-- One row per refund that no order carries: the money that went back. Key: tender_id.
-- Fills core.transaction_tenders. Once an order carries the refund, the order's own row has this key.
select
    'square:' || raw.id as tender_id,
    'square:' || raw.id as transaction_id,
    'square' as source,
    raw.id as source_tender_id,
    case raw.destination_type
        when 'CARD' then 'card'
        when 'CASH' then 'cash'
        when 'BANK_ACCOUNT' then 'bank'
        when 'WALLET' then 'wallet'
        when 'SQUARE_ACCOUNT' then 'wallet'
        else 'other'
    end as tender_type,
    raw.amount_money.currency as currency,
    -raw.amount_money.amount * currencies.factor as amount,
    0 as tip_amount,
    raw.created_at as paid_at
from raw
left join currencies on currencies.currency = raw.amount_money.currency
where raw.id is not null and nullif(raw.order_id, '') is null
