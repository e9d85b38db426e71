"""What belongs to one run: its folder, its log, its needs, its place in the queue."""
