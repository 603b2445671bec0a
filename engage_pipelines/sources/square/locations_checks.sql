-- Why a location cannot become a store. Grain: record and reason. Readers: the load's quarantine.
select id as record_id, 'missing id' as reason
from raw
where nullif(id, '') is null
union all
select id, 'missing currency'
from raw
where nullif(currency, '') is null
union all
select raw.id, 'unknown currency ' || left(raw.currency, 12)
from raw
anti join currencies using (currency)
where nullif(raw.currency, '') is not null
