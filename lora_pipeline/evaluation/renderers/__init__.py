"""Adapters to foreign image generators, one module each, behind one interface."""
