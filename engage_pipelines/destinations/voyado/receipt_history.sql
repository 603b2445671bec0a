-- Grain: one file line per receipt line, receipts in the order given. Key: uniqueReceiptId and place.
-- Reader: the stream receipt_history. Column names and order are ASSUMED (docs/connectors/voyado.md);
-- `validation.RECEIPT_COLUMNS` repeats them.
with parsed as (
    select
        from_json(payload, '{
            "contact": {"matchKey": "VARCHAR", "matchKeyType": "VARCHAR", "contactType": "VARCHAR"},
            "uniqueReceiptId": "VARCHAR", "receiptNumber": "VARCHAR", "createdDate": "VARCHAR",
            "storeExternalId": "VARCHAR", "currency": "VARCHAR",
            "exchangeRateToGroupCurrency": "DECIMAL(18, 8)", "totalGrossPrice": "DECIMAL(18, 4)",
            "items": [{
                "type": "VARCHAR", "sku": "VARCHAR", "articleNumber": "VARCHAR", "articleName": "VARCHAR",
                "quantity": "DECIMAL(18, 5)", "grossPaidPrice": "DECIMAL(18, 4)", "taxAmount": "DECIMAL(18, 4)",
                "taxPercent": "DECIMAL(18, 2)"
            }]
        }') as r,
        -- Where none of them stands anywhere in the receipt, as most often, its texts need no second look: JSON writes
        -- quotes and control characters with a backslash.
        contains(payload, ';') or contains(payload, '\') or contains(payload, chr(127)) or contains(payload, chr(133))
            or contains(payload, chr(8232)) or contains(payload, chr(8233)) as is_odd
    from payloads
),

-- What stands on every line of a receipt. Money keeps two places, or more where the currency has more.
receipts as (
    select
        r.contact.matchKey as match_key,
        r.contact.matchKeyType as match_key_type,
        r.contact.contactType as contact_type,
        r.uniqueReceiptId as receipt_id,
        -- Text of the receipt: separators, quotes and control characters become one blank.
        nullif(trim(if(
            is_odd,
            regexp_replace(r.receiptNumber, '[;"\x00-\x1f\x7f\x{85}\x{2028}\x{2029}]+', ' ', 'g'),
            r.receiptNumber
        )), '') as receipt_number,
        r.createdDate as created_date,
        r.storeExternalId as store,
        r.currency as currency,
        regexp_replace(r.exchangeRateToGroupCurrency::varchar, '0{1,7}$', '') as exchange_rate,
        if(
            r.totalGrossPrice = r.totalGrossPrice::decimal(18, 2),
            r.totalGrossPrice::decimal(18, 2)::varchar,
            regexp_replace(r.totalGrossPrice::varchar, '0$', '')
        ) as total,
        is_odd,
        r.items as items
    from parsed
),

lines as (
    select receipts.* exclude (items), unnest(items) as i
    from receipts
)

select
    match_key as "matchKey",
    match_key_type as "matchKeyType",
    contact_type as "contactType",
    receipt_id as "uniqueReceiptId",
    receipt_number as "receiptNumber",
    created_date as "createdDate",
    store as "storeExternalId",
    currency as "currency",
    exchange_rate as "exchangeRateToGroupCurrency",
    total as "totalGrossPrice",
    i.type as "type",
    coalesce(nullif(trim(if(
        is_odd, regexp_replace(i.sku, '[;"\x00-\x1f\x7f\x{85}\x{2028}\x{2029}]+', ' ', 'g'), i.sku
    )), ''), '-') as "sku",
    coalesce(nullif(trim(if(
        is_odd, regexp_replace(i.articleNumber, '[;"\x00-\x1f\x7f\x{85}\x{2028}\x{2029}]+', ' ', 'g'), i.articleNumber
    )), ''), '-') as "articleNumber",
    coalesce(nullif(trim(if(
        is_odd, regexp_replace(i.articleName, '[;"\x00-\x1f\x7f\x{85}\x{2028}\x{2029}]+', ' ', 'g'), i.articleName
    )), ''), '-') as "articleName",
    null::varchar as "articleGroup",
    if(
        i.quantity = i.quantity::decimal(18, 0),
        i.quantity::decimal(18, 0)::varchar,
        regexp_replace(i.quantity::varchar, '0+$', '')
    ) as "quantity",
    if(
        i.grossPaidPrice = i.grossPaidPrice::decimal(18, 2),
        i.grossPaidPrice::decimal(18, 2)::varchar,
        regexp_replace(i.grossPaidPrice::varchar, '0$', '')
    ) as "grossPaidPrice",
    if(
        i.taxAmount = i.taxAmount::decimal(18, 2),
        i.taxAmount::decimal(18, 2)::varchar,
        regexp_replace(i.taxAmount::varchar, '0$', '')
    ) as "taxAmount",
    i.taxPercent::varchar as "taxPercent",
    null::varchar as "marginPercent",
    null::varchar as "awardsBonus"
from lines
