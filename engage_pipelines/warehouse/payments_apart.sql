-- Completed payments that the receipts do not know, or know with another amount: the money side of the proof
-- of completeness, asked of another service of the till than the receipts. Grain: payment_id.
-- Readers: the asset check on payments.
select p.payment_id,
    case
        when p.transaction_id is not null and t.transaction_id is null then 'its receipt has not landed'
        when d.tender_id is null then 'its receipt does not show it'
        else 'its receipt shows another amount'
    end as reason
from core.payments as p
left join core.transactions as t using (transaction_id)
left join core.transaction_tenders as d on d.tender_id = p.payment_id
where p.status = 'completed'
    and (
        (p.transaction_id is not null and t.transaction_id is null)
        or (t.is_countable and (d.tender_id is null or d.amount <> p.total_amount))
    )
order by p.payment_id
