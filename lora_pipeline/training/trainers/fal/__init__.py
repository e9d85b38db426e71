"""fal: requests to a training endpoint."""
