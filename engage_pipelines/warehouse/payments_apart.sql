-- Payments and receipts that do not know each other, or know each other with another amount: the money side of the
-- proof of completeness, as the till answers for both in different services. Grain: payment_id.
-- Readers: the asset check on payments.
with asked as (
    -- Days that the payment service was asked about. The last one is left out: a payment that was touched after
    -- the end of the last pull is listed by the next one only.
    select source, window_start_at, least(window_end_at, max(window_end_at) over (partition by source)
        - interval 1 day) as window_end_at
    from ops.loads
    where entity = 'payments'
),
unknown_to_receipts as (
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
),
unknown_to_the_service as (
    select d.tender_id as payment_id, 'the payment service did not list it' as reason
    from core.transaction_tenders as d
    join core.transactions as t using (transaction_id)
    where t.is_countable
        and d.amount > 0
        and not exists (from core.payments as p where p.payment_id = d.tender_id)
        and exists (
            from asked as a
            where a.source = d.source and d.paid_at >= a.window_start_at and d.paid_at < a.window_end_at
        )
)
select payment_id, reason from unknown_to_receipts
union all
select payment_id, reason from unknown_to_the_service
order by payment_id
