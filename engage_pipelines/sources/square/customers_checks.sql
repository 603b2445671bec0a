-- Why a customer profile cannot be read. Grain: record and reason. Readers: the load's quarantine.
select id as record_id, 'missing id' as reason
from raw
where nullif(id, '') is null
union all
select id, 'missing updated_at'
from raw
where updated_at is null
