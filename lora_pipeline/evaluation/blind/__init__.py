"""Blind comparison: its order, its page, its answers."""
