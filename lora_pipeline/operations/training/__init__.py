"""Presets, plans, runs and weights."""
