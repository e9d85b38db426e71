"""ostris' ai-toolkit: here, and as a server elsewhere."""
