-- Receipts whose parts do not add up to their total: lines + tip + service charge + rounding = total, and
-- completed receipts whose tenders differ from the total although they have any. Grain: transaction_id.
-- Readers: the asset check on balance.
-- Added up by the hash of the receipt's key, which takes half the time and memory. Two receipts of one hash would be
-- named here wrongly; among ten million that is less likely than one in a hundred thousand.
with lines as (
    select hash(transaction_id) as receipt, sum(total_amount) as line_amount
    from core.transaction_lines
    group by receipt
),
tenders as (
    select hash(transaction_id) as receipt, sum(amount) as tender_amount
    from core.transaction_tenders
    group by receipt
)
select t.transaction_id,
    case
        when coalesce(l.line_amount, 0) + t.tip_amount + t.service_charge_amount + t.rounding_amount
            <> t.total_amount then 'lines, tip and charges do not add up to the total'
        else 'tenders do not add up to the total'
    end as reason
from core.transactions as t
left join lines as l on l.receipt = hash(t.transaction_id)
left join tenders as d on d.receipt = hash(t.transaction_id)
where t.is_countable
    and (
        coalesce(l.line_amount, 0) + t.tip_amount + t.service_charge_amount + t.rounding_amount <> t.total_amount
        or d.tender_amount <> t.total_amount
    )
