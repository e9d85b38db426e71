"""Services that draw: Replicate and fal."""
