-- Grain: one file line per receipt line, receipts in the order given. Key: uniqueReceiptId and place.
-- Reader: the stream receipt_history. Column names and order are ASSUMED (docs/connectors/voyado.md);
-- `validation.RECEIPT_COLUMNS` repeats them.
with parsed as (
    select from_json(payload, '{
        "contact": {"matchKey": "VARCHAR", "matchKeyType": "VARCHAR", "contactType": "VARCHAR"},
        "uniqueReceiptId": "VARCHAR", "receiptNumber": "VARCHAR", "createdDate": "VARCHAR",
        "storeExternalId": "VARCHAR", "currency": "VARCHAR",
        "exchangeRateToGroupCurrency": "DECIMAL(18, 8)", "totalGrossPrice": "DECIMAL(18, 4)",
        "items": [{
            "type": "VARCHAR", "sku": "VARCHAR", "articleNumber": "VARCHAR", "articleName": "VARCHAR",
            "quantity": "DECIMAL(18, 5)", "grossPaidPrice": "DECIMAL(18, 4)", "taxAmount": "DECIMAL(18, 4)",
            "taxPercent": "DECIMAL(18, 2)"
        }]
    }') as r
    from payloads
),

-- Text of the receipt: separators, quotes and control characters become one blank.
receipts as (
    select
        list_transform(
            [r.receiptNumber],
            lambda v: nullif(trim(regexp_replace(v, '[;"\x00-\x1f\x7f\x{85}\x{2028}\x{2029}]+', ' ', 'g')), '')
        ) as v,
        r
    from parsed
),

lines as (
    select v, r, unnest(r.items) as i
    from receipts
),

cleaned as (
    select
        v,
        r,
        i,
        list_transform(
            [i.sku, i.articleNumber, i.articleName],
            lambda v: nullif(trim(regexp_replace(v, '[;"\x00-\x1f\x7f\x{85}\x{2028}\x{2029}]+', ' ', 'g')), '')
        ) as w
    from lines
)

-- Money keeps two places, or more where the currency has more.
select
    r.contact.matchKey as "matchKey",
    r.contact.matchKeyType as "matchKeyType",
    r.contact.contactType as "contactType",
    r.uniqueReceiptId as "uniqueReceiptId",
    v[1] as "receiptNumber",
    r.createdDate as "createdDate",
    r.storeExternalId as "storeExternalId",
    r.currency as "currency",
    regexp_replace(r.exchangeRateToGroupCurrency::varchar, '0{1,7}$', '') as "exchangeRateToGroupCurrency",
    regexp_replace(r.totalGrossPrice::varchar, '0{1,2}$', '') as "totalGrossPrice",
    i.type as "type",
    coalesce(w[1], '-') as "sku",
    coalesce(w[2], '-') as "articleNumber",
    coalesce(w[3], '-') as "articleName",
    null::varchar as "articleGroup",
    regexp_replace(i.quantity::varchar, '\.?0+$', '') as "quantity",
    regexp_replace(i.grossPaidPrice::varchar, '0{1,2}$', '') as "grossPaidPrice",
    regexp_replace(i.taxAmount::varchar, '0{1,2}$', '') as "taxAmount",
    i.taxPercent::varchar as "taxPercent",
    null::varchar as "marginPercent",
    null::varchar as "awardsBonus"
from cleaned
