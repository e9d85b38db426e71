"""Whether art may be trained on, and what its project says about that."""
