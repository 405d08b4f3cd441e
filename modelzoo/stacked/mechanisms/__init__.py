"""Stacked attention, one file a family of mechanisms."""
