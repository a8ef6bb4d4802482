"""Measurements: each prints a table that the docs keep."""
