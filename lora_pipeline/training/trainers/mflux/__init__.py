"""mflux on Apple silicon."""
