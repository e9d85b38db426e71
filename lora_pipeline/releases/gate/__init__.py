"""The gate: conditions, policies, and a pure function from evidence to a decision."""
