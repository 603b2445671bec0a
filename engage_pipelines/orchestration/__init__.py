"""The only room that imports dagster: assets, partitions, jobs, schedules, checks, the instance's storage.

Nothing of the business is here: an asset turns settings into one call of `operations` and its result into
metadata. Import the submodules directly; importing this package does nothing.
"""
