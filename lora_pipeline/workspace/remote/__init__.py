"""The remote store: where other machines find the same objects."""
