-- Receipts, lines and amount per currency that a destination holds, by the ledger. Grain: currency.
-- Reads: temp table `held(record_key)`. Readers: the summary of a run, `engage status`.
select t.currency, count(*) as receipts, coalesce(sum(t.line_count), 0) as lines,
    cast(sum(t.total_amount) as decimal(38, 4)) as amount,
    cast(sum(t.total_amount - t.tip_amount) as decimal(38, 4)) as amount_without_tips
from held as h
join core.transactions as t on t.transaction_id = h.record_key
group by t.currency
order by t.currency
