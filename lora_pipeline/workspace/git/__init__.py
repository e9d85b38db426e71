"""Git: the only place that calls it."""
