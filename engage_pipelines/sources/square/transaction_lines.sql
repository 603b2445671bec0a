-- One row per line of an order, sold or returned. Key: line_id. Fills core.transaction_lines.
-- Returned lines follow the sold ones, with all amounts and the quantity negative.
-- A line's total holds its discounts, additive taxes and its share of spread service charges. Its gross
-- holds inclusive tax in Europe and Australia and does not in the US, Canada and Japan: as Square has it.
-- Not materialized: the orders' lists would be in memory a second time.
with orders as not materialized (
    select
        raw.id, raw.line_items, raw.returns,
        coalesce(raw.total_money.currency, raw.net_amounts.total_money.currency,
            raw.return_amounts.total_money.currency, raw.line_items[1].total_money.currency,
            raw.line_items[1].base_price_money.currency, raw.returns[1].return_line_items[1].total_money.currency,
            stores.currency) as currency
    from raw
    left join stores on stores.store_id = 'square:' || raw.location_id
    where raw.id is not null
),
sold as (
    select id, currency, unnest(line_items) as line, generate_subscripts(line_items, 1) as position
    from orders
),
entries as (
    select id, currency, coalesce(len(line_items), 0) as sold_count, unnest(returns) as entry,
        generate_subscripts(returns, 1) as entry_number
    from orders
),
returned as (
    select id, currency, sold_count, entry_number, entry.source_order_id as source_order_id,
        unnest(entry.return_line_items) as line, generate_subscripts(entry.return_line_items, 1) as place
    from entries
),
lines as (
    select
        id, currency, 1 as sign, position as line_number, position, line.uid as uid, line.name as name,
        line.variation_name as variation_name, line.quantity as quantity, line.item_type as item_type,
        line.catalog_object_id as catalog_object_id, line.base_price_money.amount as price,
        coalesce(line.gross_sales_money.amount, line.variation_total_price_money.amount) as gross,
        line.total_discount_money.amount as discount, line.total_tax_money.amount as tax,
        line.total_service_charge_money.amount as charge, line.total_money.amount as total,
        null as refund_of_line_id
    from sold
    union all
    select
        id, currency, -1, sold_count + row_number() over (partition by id order by entry_number, place),
        row_number() over (partition by id order by entry_number, place), line.uid, line.name, line.variation_name,
        line.quantity, line.item_type, line.catalog_object_id, line.base_price_money.amount,
        coalesce(line.gross_return_money.amount, line.variation_total_price_money.amount),
        line.total_discount_money.amount, line.total_tax_money.amount, line.total_service_charge_money.amount,
        line.total_money.amount,
        'square:' || nullif(source_order_id, '') || ':' || nullif(line.source_line_item_uid, '')
    from returned
),
measured as (
    select
        * exclude (gross, quantity, name, variation_name, catalog_object_id, uid),
        try_cast(quantity as decimal(18, 5)) as units,
        coalesce(gross, round(price * try_cast(quantity as decimal(18, 5)))::bigint, total) as gross,
        coalesce(nullif(uid, ''), case sign when 1 then 'line-' else 'return-' end || position) as uid,
        nullif(trim(name), '') as written,
        nullif(trim(variation_name), '') as variation,
        'square:' || nullif(catalog_object_id, '') as product_id
    from lines
),
named as (
    select
        measured.*,
        products.sku,
        products.name as product_name,
        getvariable('note_pattern') <> ''
            and coalesce(regexp_matches(written, getvariable('note_pattern')), false) as is_note
    from measured
    left join core.products as products using (product_id)
)
select
    'square:' || n.id || ':' || n.uid as line_id,
    'square:' || n.id as transaction_id,
    'square' as source,
    n.uid as source_line_id,
    n.line_number,
    case n.item_type when 'CUSTOM_AMOUNT' then 'custom' when 'GIFT_CARD' then 'gift_card' else 'item' end as line_type,
    n.sign = -1 as is_return,
    n.product_id,
    n.sku,
    case
        when n.written is null then coalesce(n.product_name, n.sku, 'unnamed')
        when n.is_note then coalesce(n.product_name, n.written)
        when n.variation is null or lower(n.variation) in ('regular', lower(n.written)) then n.written
        else n.written || ', ' || n.variation
    end as name,
    n.sign * n.units as quantity,
    n.currency,
    -- Whole minor units by integer division where the line has no price of its own.
    coalesce(n.price, case when n.units = 0 then 0 else (n.gross * 100000) // cast(n.units * 100000 as bigint) end)
        * currencies.factor as unit_price_amount,
    n.sign * n.gross * currencies.factor as gross_amount,
    n.sign * coalesce(n.discount, 0) * currencies.factor as discount_amount,
    n.sign * coalesce(n.tax, 0) * currencies.factor as tax_amount,
    n.sign * coalesce(n.charge, 0) * currencies.factor as service_charge_amount,
    n.sign * coalesce(n.total, n.gross - coalesce(n.discount, 0) + coalesce(n.tax, 0) + coalesce(n.charge, 0))
        * currencies.factor as total_amount,
    n.refund_of_line_id,
    nullif(concat_ws(',',
        case when n.is_note then 'clerk_note' end,
        case when n.written is null then 'no_name' end,
        case when n.units < 0 then 'negative_quantity' end), '') as remark_code
from named as n
left join currencies using (currency)
