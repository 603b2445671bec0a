-- Receipts, lines and amount per currency of countable receipts. Grain: currency. Readers: the summary of a
-- run, asset checks, `engage status`.
with lines as (
    select l.transaction_id, count(*) as line_count
    from core.transaction_lines as l
    group by l.transaction_id
)
select t.currency, count(*) as receipts, coalesce(sum(l.line_count), 0) as lines,
    cast(sum(t.total_amount) as decimal(38, 4)) as amount,
    cast(sum(t.total_amount - t.tip_amount) as decimal(38, 4)) as amount_without_tips
from core.transactions as t
left join lines as l using (transaction_id)
where t.is_countable
group by t.currency
order by t.currency
