-- Grain: one row per selected receipt. Key: record_key = transaction_id. Read by: stream aiq/sales.
-- A refund is a document of its own: its own pos_id, negative quantities, negative total. Objects are put
-- together as text: concat_ws leaves out what is null, so an absent value is never sent.
with lines as (
    select
        l.transaction_id,
        l.line_number,
        l.line_id,
        coalesce(nullif(trim(l.sku), ''), nullif(trim(p.sku), ''), l.product_id, 'custom') as sku,
        coalesce(nullif(trim(l.name), ''), nullif(trim(p.name), ''), 'custom') as name,
        nullif(trim(p.category), '') as category,
        nullif(trim(p.brand), '') as brand,
        if(getvariable('price_basis') = 'line', l.gross_amount, l.unit_price_amount) as price,
        l.discount_amount as discount,
        l.quantity
    from selected as s
    inner join core.transaction_lines as l on l.transaction_id = s.transaction_id
    left join core.products as p on p.product_id = l.product_id
),

details as (
    select
        transaction_id,
        -- Sorted after gathering: an ordered aggregate would reserve memory for thousands of rows per receipt.
        array_to_string(list_transform(list_sort(list({line_number: line_number, line_id: line_id, entry:
            '{' || concat_ws(
                ',',
                '"sku":' || to_json(sku),
                '"name":' || to_json(name),
                '"category":' || to_json(category),
                '"brand":' || to_json(brand),
                '"price":' || to_json(price),
                '"discount":' || to_json(discount),
                '"quantity":' || to_json(quantity)
            ) || '}'
        })), lambda line: line.entry), ',') as entries
    from lines
    group by transaction_id
),

visits as (
    select
        s.transaction_id,
        s.is_test,
        s.status,
        s.is_countable,
        coalesce(s.customer_id, nullif(getvariable('anonymous_pos_user'), '')) as pos_user,
        coalesce(nullif(trim(n.store_name), ''), nullif(trim(o.name), '')) as location,
        nullif(trim(s.channel), '') as channel,
        -- Store time, without the session's time zone having a say.
        make_timestamp(
            epoch_us(coalesce(s.closed_at, s.opened_at)) + s.utc_offset_minutes::bigint * 60000000
        ) as sold_at,
        if(s.utc_offset_minutes < 0, '-', '+')
        || lpad((abs(s.utc_offset_minutes) // 60)::varchar, 2, '0')
        || lpad((abs(s.utc_offset_minutes) % 60)::varchar, 2, '0') as utc_offset,
        s.total_amount
        - if(getvariable('include_tips'), 0, s.tip_amount)
        - if(getvariable('total_includes_tax'), 0, s.tax_amount) as total
    from selected as s
    left join core.stores as o on o.store_id = s.store_id
    left join store_names as n on n.store_id = s.store_id
)

select
    v.transaction_id as record_key,
    '{"visit":{' || concat_ws(
        ',',
        '"pos_id":' || to_json(v.transaction_id),
        '"pos_user":' || to_json(v.pos_user),
        case getvariable('pos_type')
            when 'channel' then '"pos_type":' || to_json(v.channel)
            when 'location' then '"pos_type":' || to_json(v.location)
        end,
        '"sendNotification":' || if(getvariable('send_notification'), '1', '0'),
        '"transaction_date":' || to_json(strftime(v.sold_at, '%Y-%m-%d %H:%M:%S ') || v.utc_offset),
        '"transaction_total":' || to_json(v.total),
        '"location":' || to_json(v.location),
        '"visit_details_attributes":[' || d.entries || ']'
    ) || '}}' as payload,
    case
        when v.is_test then 'test receipt'
        when v.status = 'voided' then 'voided'
        when v.status = 'open' then 'open'
        when not v.is_countable then 'does not count as revenue'
        when d.entries is null then 'no lines'
        when v.pos_user is null then 'anonymous sale'
    end as skipped_reason,
    case when skipped_reason is null and v.location is null then 'store unknown' end as rejected_reason
from visits as v
left join details as d on d.transaction_id = v.transaction_id
