-- Grain: one row per receipt of `selected`. Key: record_key = transaction_id (uniqueReceiptId there).
-- Readers: the streams `receipts` (API, from go-live on) and `receipt_history` (files, before go-live);
-- getvariable('channel') is 'api' or 'history', the payload is the same in both.
-- Holds: sum of sign x grossPaidPrice over items = totalGrossPrice = sum of payments, to the minor unit.
with receipts as (
    select
        t.transaction_id,
        t.receipt_number,
        t.status,
        t.is_test,
        t.is_countable,
        t.business_on,
        t.currency,
        t.customer_id,
        t.service_charge_amount,
        t.rounding_amount,
        t.tax_amount,
        case when getvariable('include_tips') then t.tip_amount else 0 end as tip_amount,
        t.total_amount - t.tip_amount as total_without_tip_amount,
        timezone('UTC', coalesce(t.closed_at, t.opened_at))
            + to_minutes(t.utc_offset_minutes) as sold_local,
        t.utc_offset_minutes,
        coalesce(n.store_name, s.source_store_id) as store_key,
        c.customer_id as known_customer_id,
        case getvariable('match_key_type')
            when 'email' then c.email
            when 'mobilePhone' then c.phone
            when 'memberNumber' then nullif(trim(c.reference_id), '')
            else c.customer_id
        end as match_key,
        case
            when t.currency = getvariable('group_currency') then 1
            else try_cast(getvariable('exchange_rates')[t.currency] as decimal(18, 8))
        end as exchange_rate
    from selected as t
    left join core.stores as s on s.store_id = t.store_id
    left join store_names as n on n.store_id = t.store_id
    left join core.customers as c on c.customer_id = t.customer_id
),

-- What does not go there at all, cheapest question first: most receipts of a shop are anonymous.
judged as (
    select
        receipts.*,
        case
            when status <> 'completed' then status
            when is_test then 'test'
            when not is_countable then 'not countable'
            when getvariable('channel') = 'api' and business_on < getvariable('go_live_on')
                then 'before go-live: history file'
            when getvariable('channel') = 'history' and business_on >= getvariable('go_live_on')
                then 'from go-live on: API'
            when customer_id is null then 'anonymous'
            when known_customer_id is null then 'customer is not in core.customers'
            when match_key is null then 'no ' || getvariable('match_key_type')
        end as skipped_reason
    from receipts
),

going as (
    select * from judged where skipped_reason is null
),

goods as (
    select
        l.transaction_id,
        l.line_number,
        l.line_id,
        -- Prices of goods are never negative there; a line against the grain (a negative custom amount in a
        -- sale) is an adjustment, which may carry its sign in the price.
        case
            when l.is_return and l.quantity < 0 and l.total_amount <= 0 then 'RETURN'
            when not l.is_return and l.quantity >= 0 and l.total_amount >= 0 then 'PURCHASE'
            else 'ADJUSTMENT'
        end as type,
        coalesce(
            nullif(trim(l.sku), ''),
            nullif(trim(p.sku), ''),
            p.source_product_id,
            substr(l.product_id, position(':' in l.product_id) + 1),
            getvariable('custom_sku')
        ) as sku,
        l.name,
        l.quantity,
        l.total_amount,
        l.tax_amount,
        l.discount_amount,
        l.service_charge_amount
    from core.transaction_lines as l
    semi join going on going.transaction_id = l.transaction_id
    left join core.products as p on p.product_id = l.product_id
),

goods_sums as (
    select
        transaction_id,
        sum(total_amount) as total_amount,
        sum(tax_amount) as tax_amount,
        sum(service_charge_amount) as service_charge_amount
    from goods
    group by transaction_id
),

-- What the receipt has beyond its goods is the charge; a charge spread over the goods is in them already.
sums as (
    select
        g.*,
        goods_sums.transaction_id is not null as has_lines,
        g.total_without_tip_amount + g.tip_amount as total_amount_paid,
        g.total_without_tip_amount - g.rounding_amount - coalesce(goods_sums.total_amount, 0) as charge_amount,
        g.tax_amount - coalesce(goods_sums.tax_amount, 0) as charge_tax_amount,
        g.service_charge_amount - coalesce(goods_sums.service_charge_amount, 0) as charge_beside_goods_amount
    from going as g
    left join goods_sums on goods_sums.transaction_id = g.transaction_id
),

-- Adjustments keep the sign in the price; returned goods have it in the type.
lines as (
    select
        transaction_id, line_number as position, line_id as tie,
        type,
        sku, coalesce(nullif(trim(name), ''), sku) as name, quantity,
        if(type = 'RETURN', -total_amount, total_amount) as paid_amount,
        if(type = 'RETURN', -tax_amount, tax_amount) as tax_amount,
        if(type = 'RETURN', discount_amount, -discount_amount) as discount_amount
    from goods
    union all
    select
        transaction_id, 1000001, '', 'ADJUSTMENT',
        getvariable('service_charge_sku'), 'Service charge', 1,
        charge_amount, charge_tax_amount, 0
    from sums
    where charge_amount <> 0
    union all
    select
        transaction_id, 1000002, '', 'ADJUSTMENT',
        getvariable('rounding_sku'), 'Rounding', 1,
        rounding_amount, 0, 0
    from sums
    where rounding_amount <> 0
    union all
    select
        transaction_id, 1000003, '', 'ADJUSTMENT',
        getvariable('tip_sku'), 'Tip', 1,
        tip_amount, 0, 0
    from sums
    where tip_amount <> 0
),

taxed_lines as (
    select
        lines.*,
        -- Whole numbers divided as floats and rounded give the exact hundredth; money itself stays decimal.
        case
            when paid_amount = tax_amount then 0
            else (
                round(
                    10000 * cast(tax_amount * 10000 as bigint)
                    / cast((paid_amount - tax_amount) * 10000 as bigint)
                )::bigint * 0.01::decimal(3, 2)
            )::decimal(18, 2)
        end as tax_percent
    from lines
),

items as (
    select
        transaction_id,
        count(*) as line_count,
        -- Sorted after gathering: an ordered aggregate would reserve memory for thousands of rows per receipt.
        list_transform(list_sort(list({position: position, tie: tie, item:
            case
                when discount_amount = 0 then to_json({
                    type: type, sku: sku, articleNumber: sku, articleName: name, quantity: quantity,
                    grossPaidPrice: paid_amount, taxAmount: tax_amount, taxPercent: tax_percent
                })
                else to_json({
                    type: type, sku: sku, articleNumber: sku, articleName: name, quantity: quantity,
                    grossPaidPrice: paid_amount, taxAmount: tax_amount, taxPercent: tax_percent,
                    discounts: [{value: discount_amount}]
                })
            end
        })), lambda entry: entry.item::varchar) as items
    from taxed_lines
    group by transaction_id
),

tenders as (
    select
        d.transaction_id,
        d.tender_type,
        d.amount - case when getvariable('include_tips') then 0 else d.tip_amount end as amount,
        row_number() over payment as place,
        lead(d.tender_id) over payment is null as is_last
    from core.transaction_tenders as d
    semi join going on going.transaction_id = d.transaction_id
    window payment as (
        partition by d.transaction_id
        order by d.paid_at nulls first, d.tender_id
    )
),

tender_sums as (
    select transaction_id, sum(amount) as amount
    from tenders
    group by transaction_id
),

-- The last payment takes up what the till's payments miss of the total (change, later corrections).
payments as (
    select
        sums.transaction_id,
        list_transform(list_sort(list({place: tenders.place, payment:
            {
                type: coalesce(
                    getvariable('payment_types')[coalesce(tenders.tender_type, 'other')],
                    tenders.tender_type, 'other'
                ),
                value: case
                    when tenders.transaction_id is null then sums.total_amount_paid
                    when tenders.is_last
                        then tenders.amount + sums.total_amount_paid - tender_sums.amount
                    else tenders.amount
                end
            }
        })), lambda entry: entry.payment) as payments
    from sums
    left join tenders on tenders.transaction_id = sums.transaction_id
    left join tender_sums on tender_sums.transaction_id = sums.transaction_id
    group by sums.transaction_id
),

payloads as (
    select
        s.transaction_id,
        i.line_count,
        -- Put together as text: parsing whole receipts again would take ten times their size in memory, and
        -- concat_ws leaves out what is absent.
        '{' || concat_ws(
            ',',
            '"contact":' || to_json({
                matchKey: s.match_key,
                matchKeyType: getvariable('match_key_type'),
                contactType: getvariable('contact_type')
            }),
            '"uniqueReceiptId":' || to_json(s.transaction_id),
            '"receiptNumber":' || to_json(nullif(trim(s.receipt_number), '')),
            '"createdDate":' || to_json(strftime(s.sold_local, '%Y-%m-%dT%H:%M:%S') || printf(
                '%s%02d:%02d',
                case when s.utc_offset_minutes < 0 then '-' else '+' end,
                abs(s.utc_offset_minutes) // 60,
                abs(s.utc_offset_minutes) % 60
            )),
            '"storeExternalId":' || to_json(s.store_key),
            '"currency":' || to_json(s.currency),
            '"exchangeRateToGroupCurrency":' || to_json(s.exchange_rate),
            '"totalGrossPrice":' || to_json(s.total_amount_paid),
            '"paymentMethods":' || to_json(p.payments),
            '"items":[' || array_to_string(i.items, ',') || ']'
        ) || '}' as payload,
        case
            when not s.has_lines then 'no lines'
        end as skipped_reason,
        case
            when s.store_key is null then 'store is not in core.stores'
            when s.exchange_rate is null then 'no exchange rate for ' || s.currency
            when s.charge_amount not in (0, s.service_charge_amount, s.charge_beside_goods_amount)
                then 'lines, service charge and rounding do not add up to the total'
            -- A file has no way to carry these in a key, and a key must not be changed.
            when getvariable('channel') = 'history'
                and regexp_matches(
                    concat(s.match_key, s.transaction_id, s.store_key),
                    '[;"\x00-\x1f\x7f\x{85}\x{2028}\x{2029}]'
                )
                then 'a key holds a character that a file cannot carry'
        end as rejected_reason
    from sums as s
    left join items as i on i.transaction_id = s.transaction_id
    left join payments as p on p.transaction_id = s.transaction_id
)

select
    j.transaction_id as record_key,
    coalesce(p.payload, '{}') as payload,
    coalesce(j.skipped_reason, p.skipped_reason) as skipped_reason,
    p.rejected_reason,
    coalesce(p.line_count, 0) as weight,
    -- A receipt of a contact that is not there is accepted, and dropped without a word.
    j.customer_id as needs_key
from judged as j
left join payloads as p on p.transaction_id = j.transaction_id
