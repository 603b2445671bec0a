-- One row per location of a window: what the till lists (`listed`) against what was pulled (`pulled`).
-- Key: load_id, location_id. Readers: the asset check on completeness, `engage status`, analysts.
-- A record pulled but no longer listed has been changed again since: the next window brings it, so it is
-- counted as moved. A record listed but not pulled is a gap.
insert into warehouse.ops.completeness (
    load_id, source, entity, location_id, window_start_at, window_end_at, expected_count, landed_count,
    missing_count, moved_count, is_complete, checked_at
)
with locations as (
    select unnest($location_ids::varchar[]) as location_id
),
landed as (
    select distinct cast(id as varchar) as record_id, cast(location_id as varchar) as location_id
    from landed_ids
    union
    select record_id, null from quarantined
),
expected as (
    select l.location_id, count(distinct l.record_id) as expected_count,
        count(distinct l.record_id) filter (where p.record_id is null) as missing_count
    from listed as l
    left join (select distinct record_id from landed) as p using (record_id)
    group by l.location_id
),
found as (
    -- A record that could not be read has no location of its own; the list knows where it belongs.
    select coalesce(p.location_id, l.location_id) as location_id, count(distinct p.record_id) as landed_count,
        count(distinct p.record_id) filter (where l.record_id is null) as moved_count
    from landed as p
    left join (select distinct record_id, location_id from listed) as l using (record_id)
    group by all
)
select
    $load_id, $source, $entity, location_id, $window_start_at, $window_end_at,
    coalesce(expected_count, 0), coalesce(landed_count, 0), coalesce(missing_count, 0),
    coalesce(moved_count, 0), coalesce(missing_count, 0) = 0, $checked_at
from locations
left join expected using (location_id)
left join found using (location_id)
