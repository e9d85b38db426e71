"""How files become assets: found, read, planned, brought in."""
