"""Manifests in the folders of other tools."""
