"""The campaign: pulls, loads, deliveries and publishes under random faults, killed at random, then compared row by row.

    python -m engage_pipelines_tests.chaos --seed N --minutes M [--json]

`inbound` and `outbound` disturb, `settling` lets everything come to rest, `pos_and_core` and `comparison` look for
what was lost, doubled or wrong. Children run the product's own command line; `zygote` forks them, `points` kills them.
"""
