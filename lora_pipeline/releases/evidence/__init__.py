"""What the gate may look at, gathered from records, disk and Git."""
