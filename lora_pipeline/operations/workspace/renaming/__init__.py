"""Giving a word or a record another id, with every reference to it."""
