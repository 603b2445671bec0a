-- What Square lists for the window, in its short form. Grain: record_id. Readers: the proof of completeness.
-- Orders that no program made carry no version: null there.
select
    record ->> 'location_id' as location_id,
    record ->> 'order_id' as record_id,
    try_cast(record ->> 'version' as bigint) as version
from proof
