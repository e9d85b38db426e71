"""ComfyUI over its HTTP API, with the user's own workflow."""
