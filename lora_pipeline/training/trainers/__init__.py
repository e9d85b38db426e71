"""Adapters to foreign training programs, one module each, behind one interface."""
