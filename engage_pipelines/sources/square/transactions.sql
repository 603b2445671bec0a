-- One row per order: a sale, a return or an exchange. Key: transaction_id. Fills core.transactions.
--
-- All amounts are signed, and every sound row keeps this equation:
--   total_amount = total_amount of its lines + tip_amount + service_charge_amount + rounding_amount
-- where the lines already hold their discounts, taxes and the service charges that Square spreads over them
-- (APPORTIONED_TREATMENT); service_charge_amount holds the others, their additive tax included. A row that
-- does not keep it is remarked `amounts_do_not_add_up`.
-- The total is Square's net amount (sale less return); without one it is the sale's total less the return's.
with sold as (
    select id, unnest(line_items) as line
    from raw
    where id is not null
),
entries as (
    select id, unnest(returns) as entry
    from raw
    where id is not null
),
returned as (
    select id, unnest(entry.return_line_items) as line
    from entries
),
lines as (
    select
        id, 1 as sign, line.total_money.amount as total, line.total_discount_money.amount as discount,
        line.total_tax_money.amount as tax, line.total_service_charge_money.amount as charge,
        coalesce(line.gross_sales_money.amount, line.variation_total_price_money.amount,
            round(line.base_price_money.amount * try_cast(line.quantity as decimal(18, 5)))::bigint,
            line.total_money.amount) as gross
    from sold
    union all
    select
        id, -1, line.total_money.amount, line.total_discount_money.amount, line.total_tax_money.amount,
        line.total_service_charge_money.amount,
        coalesce(line.gross_return_money.amount, line.variation_total_price_money.amount,
            round(line.base_price_money.amount * try_cast(line.quantity as decimal(18, 5)))::bigint,
            line.total_money.amount)
    from returned
),
line_sums as (
    select
        id,
        count(*) as line_count,
        count(*) filter (where sign = 1) as sold_count,
        sum(sign * gross) as gross,
        sum(sign * coalesce(discount, 0)) as discount,
        sum(sign * coalesce(tax, 0)) as tax,
        sum(sign * coalesce(total, gross - coalesce(discount, 0) + coalesce(tax, 0) + coalesce(charge, 0))) as total
    from lines
    group by id
),
charges as (
    select id, 1 as sign, unnest(service_charges) as charge
    from raw
    union all
    select id, -1, unnest(entry.return_service_charges)
    from entries
),
charge_sums as (
    select
        id,
        sum(sign * coalesce(charge.total_money.amount,
            charge.applied_money.amount + coalesce(charge.total_tax_money.amount, 0), 0)) as charge
    from charges
    where coalesce(charge.treatment_type, 'LINE_ITEM_TREATMENT') <> 'APPORTIONED_TREATMENT'
    group by id
),
return_sums as (
    select
        id,
        count(*) as return_count,
        sum(entry.return_amounts.total_money.amount) as total,
        sum(entry.return_amounts.tax_money.amount) as tax,
        sum(entry.return_amounts.discount_money.amount) as discount,
        coalesce(sum(entry.return_amounts.tip_money.amount), sum(list_sum(list_transform(
            entry.return_tips, lambda tip: tip.applied_money.amount)))) as tip,
        sum(entry.rounding_adjustment.amount_money.amount) as rounding
    from entries
    group by id
),
payers as (
    select id, min_by(tender.customer_id, tender_number) as customer_id
    from (
        select id, unnest(tenders) as tender, generate_subscripts(tenders, 1) as tender_number
        from raw
        where nullif(customer_id, '') is null
    )
    where nullif(tender.customer_id, '') is not null
    group by id
),
measured as (
    select
        raw.id,
        coalesce(raw.total_money.currency, raw.net_amounts.total_money.currency,
            raw.return_amounts.total_money.currency, raw.line_items[1].total_money.currency,
            raw.line_items[1].base_price_money.currency, raw.returns[1].return_line_items[1].total_money.currency,
            stores.currency) as currency,
        coalesce(stores.time_zone, getvariable('fallback_time_zone')) as time_zone,
        coalesce(raw.closed_at, raw.created_at) as happened_at,
        case
            when raw.state = 'COMPLETED' then 'completed'
            when raw.state = 'CANCELED' then 'voided'
            else 'open'
        end as status,
        coalesce(s.return_count, 0) > 0 or coalesce(raw.return_amounts.total_money.amount, 0) <> 0 as has_return,
        coalesce(l.sold_count, 0) > 0 as has_sale,
        coalesce(l.line_count, 0) as line_count,
        coalesce(l.gross, 0) as gross,
        coalesce(l.total, 0) as line_total,
        coalesce(raw.net_amounts.discount_money.amount,
            raw.total_discount_money.amount - coalesce(raw.return_amounts.discount_money.amount, s.discount, 0),
            l.discount, 0) as discount,
        coalesce(raw.net_amounts.tax_money.amount,
            raw.total_tax_money.amount - coalesce(raw.return_amounts.tax_money.amount, s.tax, 0),
            l.tax, 0) as tax,
        coalesce(raw.net_amounts.tip_money.amount,
            coalesce(raw.total_tip_money.amount, 0)
            - coalesce(raw.return_amounts.tip_money.amount, s.tip, 0)) as tip,
        coalesce(c.charge, 0) as charge,
        coalesce(raw.rounding_adjustment.amount_money.amount, 0) - coalesce(s.rounding, 0) as rounding,
        -- A return has often no total_money at all: its own total is then nothing, not unknown.
        coalesce(raw.net_amounts.total_money.amount,
            case
                when coalesce(raw.total_money.amount, raw.return_amounts.total_money.amount, s.total) is not null
                    then coalesce(raw.total_money.amount, 0)
                        - coalesce(raw.return_amounts.total_money.amount, s.total, 0)
            end) as total
    from raw
    left join stores on stores.store_id = 'square:' || raw.location_id
    left join line_sums as l using (id)
    left join charge_sums as c using (id)
    left join return_sums as s using (id)
    where raw.id is not null
),
totals as (
    select * replace (coalesce(total, line_total + tip + charge + rounding) as total)
    from measured
)
select
    'square:' || raw.id as transaction_id,
    'square' as source,
    raw.id as source_transaction_id,
    'square:' || raw.location_id as store_id,
    'square:' || coalesce(nullif(raw.customer_id, ''), payers.customer_id) as customer_id,
    coalesce(nullif(trim(raw.reference_id), ''), nullif(trim(raw.ticket_name), '')) as receipt_number,
    nullif(trim(raw.source.name), '') as channel,
    case
        when m.has_return and m.has_sale then 'exchange'
        when m.has_return then 'return'
        else 'sale'
    end as transaction_type,
    m.status,
    m.status = 'completed' and not test.is_test as is_countable,
    test.is_test,
    'square:' || nullif(raw.returns[1].source_order_id, '') as refund_of_transaction_id,
    raw.created_at as opened_at,
    case when m.status <> 'open' then raw.closed_at end as closed_at,
    date_diff('minute', timezone('UTC', m.happened_at), timezone(m.time_zone, m.happened_at)) as utc_offset_minutes,
    cast(timezone(m.time_zone, m.happened_at) - to_minutes(cast(getvariable('business_day_cutover') as bigint)) as date)
        as business_on,
    m.currency,
    m.gross::bigint * currencies.factor as gross_amount,
    m.discount::bigint * currencies.factor as discount_amount,
    m.tax::bigint * currencies.factor as tax_amount,
    m.tip::bigint * currencies.factor as tip_amount,
    m.charge::bigint * currencies.factor as service_charge_amount,
    m.rounding::bigint * currencies.factor as rounding_amount,
    m.total::bigint * currencies.factor as total_amount,
    m.line_count,
    coalesce(raw.version, 0) as version,
    nullif(concat_ws(',',
        case when m.line_total + m.tip + m.charge + m.rounding <> m.total then 'amounts_do_not_add_up' end,
        case when raw.state not in ('COMPLETED', 'CANCELED', 'OPEN', 'DRAFT') then 'unknown_state' end), '')
        as remark_code,
    raw.updated_at as modified_at
from raw
join totals as m using (id)
left join payers using (id)
left join currencies using (currency)
cross join lateral (
    select
        getvariable('test_source_pattern') <> ''
        and coalesce(regexp_matches(raw.source.name, getvariable('test_source_pattern')), false) as is_test
) as test
