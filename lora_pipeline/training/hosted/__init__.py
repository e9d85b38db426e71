"""Training on a machine that is not ours: jobs that are sent, followed and fetched."""
