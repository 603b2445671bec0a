-- Receipts whose parts do not add up to their total: lines + tip + service charge + rounding = total, and
-- completed receipts whose tenders differ from the total although they have any. Grain: transaction_id.
-- Readers: the asset check on balance.
with lines as (
    select transaction_id, sum(total_amount) as line_amount
    from core.transaction_lines
    group by transaction_id
),
tenders as (
    select transaction_id, sum(amount) as tender_amount
    from core.transaction_tenders
    group by transaction_id
)
select t.transaction_id,
    case
        when coalesce(l.line_amount, 0) + t.tip_amount + t.service_charge_amount + t.rounding_amount
            <> t.total_amount then 'lines, tip and charges do not add up to the total'
        else 'tenders do not add up to the total'
    end as reason
from core.transactions as t
left join lines as l using (transaction_id)
left join tenders as d using (transaction_id)
where t.is_countable
    and (
        coalesce(l.line_amount, 0) + t.tip_amount + t.service_charge_amount + t.rounding_amount <> t.total_amount
        or d.tender_amount <> t.total_amount
    )
