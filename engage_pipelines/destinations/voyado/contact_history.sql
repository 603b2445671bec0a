-- Grain: one file line per payload (contact). Key: externalId. Reader: the stream contact_history.
-- Column names and order are ASSUMED (docs/connectors/voyado.md); `validation.CONTACT_COLUMNS` repeats them.
with parsed as (
    select from_json(payload, '{
        "contactType": "VARCHAR", "externalId": "VARCHAR", "memberNumber": "VARCHAR", "email": "VARCHAR",
        "mobilePhone": "VARCHAR", "firstName": "VARCHAR", "lastName": "VARCHAR", "street": "VARCHAR",
        "zipCode": "VARCHAR", "city": "VARCHAR", "countryCode": "VARCHAR", "birthDay": "VARCHAR",
        "createdOn": "VARCHAR", "preferences": {"acceptsEmail": "BOOLEAN"}
    }') as c
    from payloads
),

-- Separators, quotes and control characters cannot stand in a value: one blank takes the place of a run of them.
cleaned as (
    select
        list_transform(
            [
                c.contactType, c.externalId, c.memberNumber, c.email, c.mobilePhone, c.firstName, c.lastName,
                c.street, c.zipCode, c.city, c.countryCode, c.birthDay, c.createdOn
            ],
            lambda v: nullif(trim(regexp_replace(v, '[;"\x00-\x1f\x7f\x{85}\x{2028}\x{2029}]+', ' ', 'g')), '')
        ) as v,
        case when not c.preferences.acceptsEmail then 'False' end as accepts_email
    from parsed
)

select
    v[1] as "contactType",
    v[2] as "externalId",
    v[3] as "memberNumber",
    v[4] as "email",
    v[5] as "mobilePhone",
    v[6] as "firstName",
    v[7] as "lastName",
    v[8] as "street",
    null::varchar as "careOf",
    v[9] as "zipCode",
    v[10] as "city",
    v[11] as "countryCode",
    v[12] as "birthDay",
    null::varchar as "gender",
    null::varchar as "createdInStore",
    null::varchar as "store",
    accepts_email as "acceptsEmail",
    null::varchar as "acceptsSms",
    null::varchar as "acceptsPostal",
    v[13] as "createdOn"
from cleaned
