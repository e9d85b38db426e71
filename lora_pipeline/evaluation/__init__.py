"""Suites, grids, contact sheets and reviews: what people see before they decide."""
