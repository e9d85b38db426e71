"""AUTOMATIC1111 and Forge over their HTTP API."""
