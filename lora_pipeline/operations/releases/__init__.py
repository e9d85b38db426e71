"""LoRAs and their releases: registered, promoted, resolved, withdrawn."""
