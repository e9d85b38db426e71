"""What ``lora validate`` looks at: every record once, and what records say of each other."""
