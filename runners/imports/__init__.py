"""Runs that other programs trained, as a run directory: one file per source, then grouping, records and plan."""
