"""Measurements at the size of a large installation. Nothing of the product imports anything from here."""
