-- What is to be done with each shaped record, against the ledger. Grain and key: record_key. Reader: plan.py.
-- Reads `shaped` and what is known of it: `held` (records that are simply held, as digests of key and hash: `k, h`),
-- `special` (what the ledger knows of all others, whole), `needed` (records of other streams that these need: those
-- that the platform holds and those it refused), `fixes` (payloads that a person has put in the place of the source's),
-- `originals` (what was sent of records in doubt and may be sent again).
-- Variables: 'policy', 'is_immutable', 'elsewhere'.
with fixed as (
    select
        s.*,
        -- Compared for the few that have one: as a part of the join every payload would be hashed once more.
        case
            when f.record_key is not null then if(f.instead_of = md5(coalesce(s.payload, '')), f.payload, null)
        end as fixed_payload
    from shaped as s
    left join fixes as f on f.record_key = s.record_key
),

hashed as (
    select
        s.record_key,
        coalesce(s.fixed_payload, s.payload) as payload,
        s.skipped_reason,
        s.needs_key is not null and n.needs_key is null as waits,
        coalesce(
            if(s.fixed_payload is null, s.rejected_reason, null),
            if(not n.is_there, 'what it needs at the platform was refused there', null)
        ) as rejected_reason,
        coalesce(s.weight, 1) as weight,
        md5(coalesce(s.fixed_payload, s.payload, '')) as payload_hash
    from fixed as s
    left join needed as n on n.needs_key = s.needs_key
),

known as (
    select
        h.*,
        coalesce(l.state, if(s.k is null, null, 'accepted')) as known_state,
        l.payload_hash as known_hash,
        coalesce(l.delivered_hash is not null, false) or s.k is not null as is_held,
        s.k is not null as is_simply_held,
        coalesce(l.delivered_hash = h.payload_hash, s.h = md5_number(h.payload_hash), false) as is_same,
        -- A preview may meet records that are under way.
        coalesce(l.state in ('in_doubt', 'sending'), false) as is_in_doubt,
        h.skipped_reason is not null and h.skipped_reason is not distinct from getvariable('elsewhere') as is_elsewhere,
        o.payload as original_payload
    from hashed as h
    left join held as s on s.k = md5_number(h.record_key)
    left join special as l on l.record_key = h.record_key
    left join originals as o on o.record_key = h.record_key and o.payload_hash = l.payload_hash
),

judged as (
    select
        known.*,
        case
            when is_in_doubt and is_elsewhere then 'skipped'
            when is_in_doubt and (skipped_reason is not null or rejected_reason is not null) then 'held'
            -- Looked up and not found: `originals` has only those.
            when is_in_doubt and getvariable('policy') = 'verify' and original_payload is not null then 'send_again'
            when is_in_doubt and getvariable('policy') <> 'resend' then 'held'
            -- The platform may have it as it was sent, for good: only the same again is safe.
            when is_in_doubt and getvariable('is_immutable') and original_payload is null
                and known_hash <> payload_hash then 'held'
            when is_in_doubt then 'send_again'
            when known_state = 'discarded' and known_hash = payload_hash then 'skipped'
            -- The platform holds it, but it should not be there any more (voided, closed down): visible, even if
            -- what would be sent is still the same.
            when skipped_reason is not null and is_held and not is_elsewhere then 'diverged'
            when is_same then 'unchanged'
            when skipped_reason is not null then 'skipped'
            when rejected_reason is not null then 'rejected'
            when known_state = 'rejected' and known_hash = payload_hash then 'rejected'
            when is_held and getvariable('is_immutable') then 'diverged'
            when waits then 'waiting'
            when is_held then 'send_changed'
            when known_state is null then 'send_new'
            else 'send_again'
        end as action
    from known
)

-- Of what stays as it is only the number counts, and of what is not sent no payload: neither needs to fit into memory.
select
    if(is_simply_held and action = 'unchanged', null, record_key) as record_key,
    action,
    case
        when is_in_doubt and getvariable('is_immutable') and action = 'send_again'
            then coalesce(original_payload, payload)
        when starts_with(action, 'send_') or action = 'rejected' then payload
    end as payload,
    case
        when is_in_doubt and getvariable('is_immutable') and action = 'send_again' then known_hash
        when not (is_simply_held and action = 'unchanged') then payload_hash
    end as payload_hash,
    weight,
    is_in_doubt,
    -- An older form goes again: once it is there, the record has diverged.
    if(is_in_doubt and getvariable('is_immutable') and action = 'send_again' and original_payload is not null
        and known_hash <> payload_hash, payload_hash, null) as changed_to,
    known_state,
    known_hash,
    if(known_state = 'discarded' and action = 'skipped', 'discarded by a person', skipped_reason) as skipped_reason,
    rejected_reason,
    is_elsewhere,
    is_simply_held
from judged
