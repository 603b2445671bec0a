-- One row per refund that no order carries: a custom amount that went back. Key: line_id.
-- Fills core.transaction_lines, for the same refunds as refund_transactions.sql.
select
    'square:' || raw.id || ':refund' as line_id,
    'square:' || raw.id as transaction_id,
    'square' as source,
    'refund' as source_line_id,
    1 as line_number,
    'custom' as line_type,
    true as is_return,
    null as product_id,
    null as sku,
    'Refund' as name,
    -1 as quantity,
    raw.amount_money.currency as currency,
    raw.amount_money.amount * currencies.factor as unit_price_amount,
    -raw.amount_money.amount * currencies.factor as gross_amount,
    0 as discount_amount,
    0 as tax_amount,
    0 as service_charge_amount,
    -raw.amount_money.amount * currencies.factor as total_amount,
    null as refund_of_line_id,
    null as remark_code
from raw
left join currencies on currencies.currency = raw.amount_money.currency
left join core.transactions as known on known.transaction_id = 'square:' || raw.id
where raw.id is not null and (nullif(raw.order_id, '') is null or known.transaction_id is not null)
