-- Grain: one row per selected product. Key: record_key = product_id. Read by: stream crmcom/products.
-- The product's code at CRM.COM is the SKU. Objects are put together as text: concat_ws leaves out what is
-- null, so an absent value is never sent.

-- Two rows with one code in a call are undefined at CRM.COM, and codes that differ by case only are one
-- product for some databases: one product owns a code, an active one before an inactive one, then the
-- lowest key. All products are looked at, so that the owner is the same whatever is selected.
with owners as (
    select
        lower(trim(p.sku)) as code_key,
        arg_min(p.product_id, (not p.is_active, p.product_id)) as product_id
    from core.products as p
    where trim(p.sku) <> ''
    group by all
),

products as (
    select
        s.product_id,
        s.is_active,
        nullif(trim(s.sku), '') as code,
        nullif(trim(s.name), '') as name,
        nullif(trim(s.description), '') as description,
        nullif(trim(s.category), '') as category,
        nullif(trim(s.brand), '') as brand,
        s.price_amount as price
    from selected as s
)

select
    p.product_id as record_key,
    '{' || concat_ws(
        ',',
        '"code":' || to_json(p.code),
        '"description":' || to_json(p.name),
        case when getvariable('send_long_description') then '"long_description":' || to_json(p.description) end,
        case
            when getvariable('family_field') = 'category'
                then '"family_identifier":{"code":' || to_json(p.category) || '}'
        end,
        case when getvariable('send_brand') then '"brand_identifier":{"name":' || to_json(p.brand) || '}' end,
        case
            when getvariable('send_price')
                then '"global_rate":{"rate_model":' || to_json(getvariable('rate_model'))
                    || ',"global_base_amount":' || to_json(p.price) || '}'
        end
    ) || '}' as payload,
    case when not p.is_active then 'inactive' end as skipped_reason,
    case
        when skipped_reason is not null then null
        when p.code is null then 'no sku'
        when o.product_id <> p.product_id then 'duplicate code: same as ' || o.product_id
    end as rejected_reason
from products as p
left join owners as o on o.code_key = lower(p.code)
