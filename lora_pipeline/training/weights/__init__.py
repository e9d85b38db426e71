"""Weight files: what they are, what they fit, how they compare."""
