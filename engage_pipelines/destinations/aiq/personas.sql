-- Grain: one row per selected customer. Key: record_key = customer_id. Read by: stream aiq/personas.
-- Objects are put together as text: concat_ws leaves out what is null, so an absent value is never sent.
with customers as (
    select
        c.customer_id,
        nullif(trim(c.first_name), '') as first_name,
        nullif(trim(c.last_name), '') as last_name,
        nullif(trim(c.email), '') as email,
        nullif(trim(c.phone), '') as phone,
        nullif(
            concat_ws(
                ', ',
                nullif(trim(c.street), ''),
                nullif(concat_ws(' ', nullif(trim(c.postal_code), ''), nullif(trim(c.city), '')), ''),
                nullif(trim(c.country_code), '')
            ),
            ''
        ) as address,
        c.birth_on,
        c.is_email_unsubscribed
    from selected as c
),

-- AIQ stores a number it cannot read as blank and says nothing. Its own example of a North American
-- number has ten digits; every other country is sent in E.164.
phones as (
    select
        customer_id,
        case
            when getvariable('ten_digit_phones') and regexp_matches(phone, '^\+1\d{10}$') then phone[3:]
            else phone
        end as mobile_phone
    from customers
)

select
    c.customer_id as record_key,
    '{"member":{' || concat_ws(
        ',',
        '"srcID":' || to_json(c.customer_id),
        '"firstName":' || to_json(c.first_name),
        '"lastName":' || to_json(c.last_name),
        '"mobilePhone":' || to_json(p.mobile_phone),
        '"email":' || to_json(c.email),
        '"address":' || to_json(c.address),
        '"birthdate":' || to_json(strftime(c.birth_on, '%Y-%m-%d')),
        case when getvariable('send_email_opt_out') and c.is_email_unsubscribed then '"emailOptIn":false' end
    ) || '}}' as payload,
    case when p.mobile_phone is null and c.email is null then 'no phone or e-mail' end as skipped_reason,
    null::varchar as rejected_reason
from customers as c
inner join phones as p on p.customer_id = c.customer_id
