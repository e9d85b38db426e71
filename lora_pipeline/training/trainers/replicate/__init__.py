"""Replicate: trainings of a model at the service."""
