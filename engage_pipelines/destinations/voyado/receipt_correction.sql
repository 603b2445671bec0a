-- Grain: one receipt to send; one or two per row of `corrected`. Key: correction_key, which is its uniqueReceiptId.
-- Readers: the streams `receipts` and `receipt_history`, for receipts that changed after they were sent.
-- Voyado can neither change nor reverse a receipt, only a further one can: a return that undoes what it holds, to
-- the last minor unit, and then the receipt as it is now. The sum of the three is the present receipt.
with held as (
    select
        record_key,
        record_key || ':return:' || sent_mark as correction_key,
        -- Numbers are read as the decimals they were written from; ->> would take them through a float.
        from_json(sent_payload, '{
            "contact": "JSON", "receiptNumber": "VARCHAR", "createdDate": "VARCHAR", "storeExternalId": "VARCHAR",
            "currency": "VARCHAR", "exchangeRateToGroupCurrency": "DECIMAL(18, 8)",
            "totalGrossPrice": "DECIMAL(18, 4)",
            "paymentMethods": [{"type": "VARCHAR", "value": "DECIMAL(18, 4)"}],
            "items": [{
                "type": "VARCHAR", "sku": "VARCHAR", "articleNumber": "VARCHAR", "articleName": "VARCHAR",
                "quantity": "DECIMAL(18, 5)", "grossPaidPrice": "DECIMAL(18, 4)", "taxAmount": "DECIMAL(18, 4)",
                "taxPercent": "DECIMAL(18, 2)", "discounts": [{"value": "DECIMAL(18, 4)"}]
            }]
        }') as r
    from corrected
),

-- Goods turn round in type and quantity, their prices are positive either way. An adjustment keeps its quantity and
-- turns its money; so does a line of no units, because a RETURN has some.
turned as (
    select
        record_key,
        correction_key,
        r,
        list_transform(r.items, lambda i: {
            type: case
                when i.type = 'RETURN' then 'PURCHASE'
                when i.type = 'PURCHASE' and i.quantity > 0 then 'RETURN'
                else 'ADJUSTMENT'
            end,
            item: i
        }) as lines
    from held
),

items as (
    select
        record_key,
        correction_key,
        r,
        list_transform(lines, lambda l: {
            type: l.type,
            quantity: if(l.type = 'ADJUSTMENT', l.item.quantity, -l.item.quantity),
            price: if(l.type = 'ADJUSTMENT', -l.item.grossPaidPrice, l.item.grossPaidPrice),
            tax: if(l.type = 'ADJUSTMENT', -l.item.taxAmount, l.item.taxAmount),
            discounts: list_transform(
                l.item.discounts, lambda d: {value: if(l.type = 'ADJUSTMENT', -d.value, d.value)}
            ),
            item: l.item
        }) as lines
    from turned
),

returns as (
    select
        record_key,
        correction_key,
        '{' || concat_ws(
            ',',
            '"contact":' || r.contact,
            '"uniqueReceiptId":' || to_json(correction_key),
            '"receiptNumber":' || to_json(r.receiptNumber),
            '"createdDate":' || to_json(r.createdDate),
            '"storeExternalId":' || to_json(r.storeExternalId),
            '"currency":' || to_json(r.currency),
            '"exchangeRateToGroupCurrency":' || to_json(r.exchangeRateToGroupCurrency),
            '"totalGrossPrice":' || to_json(-r.totalGrossPrice),
            '"paymentMethods":' || to_json(list_transform(
                r.paymentMethods, lambda p: {type: p.type, value: -p.value}
            )),
            '"items":[' || array_to_string(list_transform(lines, lambda l: '{' || concat_ws(
                ',',
                '"type":' || to_json(l.type),
                '"sku":' || to_json(l.item.sku),
                '"articleNumber":' || to_json(l.item.articleNumber),
                '"articleName":' || to_json(l.item.articleName),
                '"quantity":' || to_json(l.quantity),
                '"grossPaidPrice":' || to_json(l.price),
                '"taxAmount":' || to_json(l.tax),
                '"taxPercent":' || to_json(l.item.taxPercent),
                '"discounts":' || to_json(l.discounts)
            ) || '}'), ',') || ']'
        ) || '}' as payload,
        len(lines) as weight
    from items
),

-- The present receipt as it stands, under an id of its own: only the id's text is exchanged.
renewals as (
    select
        record_key,
        record_key || ':new:' || new_mark as correction_key,
        replace(
            payload,
            regexp_extract(payload, '"uniqueReceiptId":"(?:[^"\\]|\\.)*"'),
            '"uniqueReceiptId":' || to_json(record_key || ':new:' || new_mark)
        ) as payload,
        json_array_length(payload, '$.items')::bigint as weight
    from corrected
    where skipped_reason is null
)

select record_key, correction_key, payload, weight from returns
union all
select record_key, correction_key, payload, weight from renewals
-- The return first.
order by record_key, correction_key desc
