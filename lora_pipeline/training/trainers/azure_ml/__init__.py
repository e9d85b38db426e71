"""Azure Machine Learning: a command job on a compute of the studio."""
