"""LoRA records, the gate, promotion and rollback."""
