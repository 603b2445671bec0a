-- What the ledger has to note without a call. Grain and key: record_key. Reads `compared`. Reader: plan.py.
-- Only what the ledger does not say already.
select
    record_key,
    case action when 'unchanged' then 'accepted' when 'waiting' then 'pending' else action end as state,
    payload_hash,
    case action
        when 'unchanged' then null
        when 'skipped' then skipped_reason
        when 'waiting' then 'waits for a record of another stream that the platform does not have'
        when 'diverged' then coalesce('delivered, now: ' || skipped_reason, 'changed after delivery')
        else coalesce(rejected_reason, 'refused before in just this form')
    end as reason,
    if(action = 'rejected', payload, null) as payload
from compared
where
    (
        action in ('rejected', 'diverged')
        and (known_state is distinct from action or known_hash is distinct from payload_hash)
    )
    or (action = 'waiting' and (known_state is distinct from 'pending' or known_hash is distinct from payload_hash))
    -- The platform holds just this again: what came in between is over.
    or (action = 'unchanged' and known_state not in ('delivered', 'accepted'))
    -- Tried once, and does not go there any more: nothing waits for it.
    or (action = 'skipped' and known_state in ('pending', 'rejected') and not is_elsewhere)
