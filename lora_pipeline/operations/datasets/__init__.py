"""Manifests and captions: built, looked at, checked, exported."""
