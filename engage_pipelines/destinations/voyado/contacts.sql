-- Grain: one row per customer of `selected`. Key: record_key = customer_id.
-- Readers: the streams `contacts` (API) and `contact_history` (files); the payload is the same in both, so
-- that a contact which went by file is not sent again by API.
-- Absent values are left out: an empty one would erase what the platform has.
with keyed as (
    select
        c.customer_id,
        case getvariable('match_key_type')
            when 'email' then c.email
            when 'mobilePhone' then c.phone
            when 'memberNumber' then nullif(trim(c.reference_id), '')
            else c.customer_id
        end as match_key
    from core.customers as c
),

-- Customers that share the key are one contact there: the one changed last speaks for it.
ranked as (
    select
        k.customer_id,
        k.match_key,
        row_number() over (
            partition by k.match_key
            order by c.modified_at desc, k.customer_id
        ) as place
    from keyed as k
    inner join core.customers as c on c.customer_id = k.customer_id
    where k.match_key is not null
)

select
    s.customer_id as record_key,
    json_merge_patch('{}', to_json({
        contactType: getvariable('contact_type'),
        externalId: s.customer_id,
        memberNumber: case when getvariable('match_key_type') = 'memberNumber' then ranked.match_key end,
        email: nullif(trim(s.email), ''),
        mobilePhone: nullif(trim(s.phone), ''),
        firstName: nullif(trim(s.first_name), ''),
        lastName: nullif(trim(s.last_name), ''),
        street: nullif(trim(s.street), ''),
        zipCode: nullif(trim(s.postal_code), ''),
        city: nullif(trim(s.city), ''),
        countryCode: coalesce(nullif(trim(s.country_code), ''), getvariable('country_code')),
        birthDay: strftime(s.birth_on, '%Y-%m-%d'),
        createdOn: strftime(timezone('UTC', s.created_at), '%Y-%m-%dT%H:%M:%S+00:00'),
        -- The till knows who opted out; who did not has not thereby opted in.
        preferences: case when s.is_email_unsubscribed then to_json({acceptsEmail: false}) end
    }))::varchar as payload,
    case
        when ranked.match_key is null then 'no ' || getvariable('match_key_type')
        when ranked.place > 1 then 'another customer has the same ' || getvariable('match_key_type')
    end as skipped_reason,
    null::varchar as rejected_reason
from selected as s
left join ranked on ranked.customer_id = s.customer_id
