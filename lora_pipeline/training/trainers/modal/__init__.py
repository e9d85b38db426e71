"""Modal: a sandbox that is rented for one run."""
