"""mflux's command line."""
