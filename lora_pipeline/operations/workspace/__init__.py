"""The workspace itself: making, checking, mending, keeping it."""
