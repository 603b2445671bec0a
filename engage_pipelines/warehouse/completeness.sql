-- One row per location of each of `windows`: what the till lists (`listed`) against what was pulled (`landed`).
-- Key: load_id, location_id. Readers: the asset check on completeness, `engage status`, analysts.
-- A record pulled but no longer listed has been changed again since: the next window brings it, so it is
-- counted as moved. A record listed but not pulled is a gap.
insert into warehouse.ops.completeness (
    load_id, source, entity, location_id, window_start_at, window_end_at, expected_count, landed_count,
    missing_count, moved_count, is_complete, checked_at
)
with locations as (
    select number, unnest(location_ids) as location_id
    from windows
),
pulled as (
    select distinct window_number as number, cast(id as varchar) as record_id,
        cast(location_id as varchar) as location_id
    from landed
    union
    select window_number, record_id, null
    from aside
),
expected as (
    select l.window_number as number, l.location_id, count(distinct l.record_id) as expected_count,
        count(distinct l.record_id) filter (where p.record_id is null) as missing_count
    from listed as l
    left join (select distinct number, record_id from pulled) as p
        on p.number = l.window_number and p.record_id = l.record_id
    group by l.window_number, l.location_id
),
found as (
    -- A record that could not be read has no location of its own; the list knows where it belongs.
    select p.number, coalesce(p.location_id, l.location_id) as location_id,
        count(distinct p.record_id) as landed_count,
        count(distinct p.record_id) filter (where l.record_id is null) as moved_count
    from pulled as p
    left join (select distinct window_number, record_id, location_id from listed) as l
        on l.window_number = p.number and l.record_id = p.record_id
    group by all
)
select
    load_id, $source, $entity, location_id, window_start_at, window_end_at,
    coalesce(expected_count, 0), coalesce(landed_count, 0), coalesce(missing_count, 0),
    coalesce(moved_count, 0), coalesce(missing_count, 0) = 0, $checked_at
from locations
join windows using (number)
left join expected using (number, location_id)
left join found using (number, location_id)
