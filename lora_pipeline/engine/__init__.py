"""Where work runs, and how it reports progress and is cancelled."""
