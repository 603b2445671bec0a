-- One row per item variation. Key: product_id. Fills core.products.
-- `raw` holds items, variations and categories of one complete pull. Items carry their variations inside as
-- well; a variation that is also listed by itself is read from there.
with items as (
    select
        id as item_id,
        nullif(trim(item_data.name), '') as item_name,
        nullif(trim(coalesce(item_data.description_plaintext, item_data.description)), '') as description,
        coalesce(item_data.reporting_category.id, item_data.categories[1].id, item_data.category_id)
            as category_id,
        coalesce(is_deleted, false) or coalesce(item_data.is_archived, false) as is_gone,
        updated_at,
        item_data.variations as variations
    from raw
    where type = 'ITEM'
),
categories as (
    select id as category_id, nullif(trim(category_data.name), '') as category
    from raw
    where type = 'CATEGORY'
),
nested as (
    select item_id, unnest(variations) as variation
    from items
),
listed as (
    select id, item_variation_data as data, updated_at, is_deleted, item_variation_data.item_id as item_id,
        true as is_listed
    from raw
    where type = 'ITEM_VARIATION' and nullif(id, '') is not null
    union all
    select variation.id, variation.item_variation_data, variation.updated_at, variation.is_deleted, item_id, false
    from nested
    where nullif(variation.id, '') is not null
),
variations as (
    select
        id,
        item_id,
        nullif(trim(data.name), '') as variation_name,
        nullif(trim(data.sku), '') as sku,
        -- The untrimmed text: two SKUs that differ in blanks only are two SKUs to the till.
        nullif(data.sku, '') as written_sku,
        trim(data.upc) as upc,
        data.price_money as price,
        data.vendor_information[1].unit_cost_money as cost,
        coalesce(is_deleted, false) as is_deleted,
        updated_at
    from listed
    qualify row_number() over (partition by id order by is_listed desc, updated_at desc) = 1
),
priced as (
    select
        variations.*,
        coalesce(price.currency, cost.currency) as currency,
        currencies.factor
    from variations
    left join currencies on currencies.currency = coalesce(variations.price.currency, variations.cost.currency)
),
live_skus as (
    select
        lower(regexp_replace(sku, '\s+', '', 'g')) as folded_sku,
        count(*) as sku_count,
        count(distinct written_sku) as spelling_count
    from variations
    where sku is not null and not is_deleted
    group by folded_sku
)
select
    'square:' || v.id as product_id,
    'square' as source,
    v.id as source_product_id,
    v.sku,
    case
        when i.item_name is null then coalesce(v.variation_name, known.name, v.sku, 'unnamed')
        when v.variation_name is null or lower(v.variation_name) in ('regular', lower(i.item_name))
            then i.item_name
        else i.item_name || ', ' || v.variation_name
    end as name,
    i.description,
    c.category,
    null as brand,
    case when regexp_full_match(v.upc, '\d{8,14}') then v.upc end as gtin,
    v.price.amount * v.factor as price_amount,
    case when v.cost.currency = v.currency then v.cost.amount * v.factor end as cost_amount,
    v.currency,
    not (v.is_deleted or coalesce(i.is_gone, false)) as is_active,
    case
        when v.sku is null then 'no_sku'
        when v.is_deleted then null
        when s.spelling_count > 1 then 'duplicate_sku_case'
        when s.sku_count > 1 then 'duplicate_sku'
    end as remark_code,
    greatest(v.updated_at, i.updated_at) as modified_at
from priced as v
left join items as i using (item_id)
left join categories as c using (category_id)
left join live_skus as s on s.folded_sku = lower(regexp_replace(v.sku, '\s+', '', 'g'))
left join core.products as known on known.product_id = 'square:' || v.id
-- An unknown currency is reported by the checks; its copy inside the item must not slip through.
where v.currency is null or v.factor is not null
