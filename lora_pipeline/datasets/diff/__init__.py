"""Two manifests compared, and the comparison told as text, Markdown and HTML."""
