-- One row per customer profile. Key: customer_id. Fills core.customers.
-- An e-mail or phone that cannot be one is dropped with a remark: the platforms match people by them, and a
-- wrong one would join strangers.
with cleaned as (
    select
        *,
        lower(trim(email_address)) as email,
        nullif(nullif(address.country, ''), 'ZZ') as country_code,
        nullif(trim(phone_number), '') as written_phone
    from raw
    where id is not null
),
judged as (
    select
        *,
        coalesce(length(email) <= 254 and regexp_full_match(email, '[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+'), false)
            as is_email,
        phone_e164(written_phone, coalesce(country_code, getvariable('default_country'))) as phone
    from cleaned
)
select
    'square:' || id as customer_id,
    'square' as source,
    id as source_customer_id,
    nullif(trim(given_name), '') as first_name,
    nullif(trim(family_name), '') as last_name,
    case when is_email then email end as email,
    phone,
    country_code,
    nullif(trim(address.locality), '') as city,
    nullif(concat_ws(', ', nullif(trim(address.address_line_1), ''), nullif(trim(address.address_line_2), '')), '')
        as street,
    nullif(trim(address.postal_code), '') as postal_code,
    -- Square writes the year 0000 when only day and month are known.
    case when birthday not like '0000-%' then try_cast(birthday as date) end as birth_on,
    preferences.email_unsubscribed as is_email_unsubscribed,
    nullif(trim(reference_id), '') as reference_id,
    created_at,
    nullif(concat_ws(',',
        case when nullif(email, '') is not null and not is_email then 'invalid_email' end,
        case when written_phone is not null and phone is null then 'invalid_phone' end), '') as remark_code,
    updated_at as modified_at
from judged
