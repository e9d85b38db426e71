"""What changed between two commits, told to whoever reviews it."""
