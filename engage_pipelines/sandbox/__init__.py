"""Stand-ins for the vendors: small servers that keep state and hold callers to the vendors' contracts.

Written from the vendors' documents alone. Nothing here imports a connector, and no connector imports
this: if both sides shared code, they would agree in their mistakes. Each vendor has a class of the shape
`app.StandIn`; the frame around them (limits, faults, counting, inspection) is the same for all.
"""
