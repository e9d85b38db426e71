"""The repository that holds the records: its root, settings, lock, Git, records and store."""
