"""The whole loop: what goes in on the till comes out at the platforms."""
