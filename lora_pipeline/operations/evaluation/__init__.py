"""Suites, grids and what people say of them."""
