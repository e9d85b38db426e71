"""What everything stands on: errors, ids, JSON, digests, files, images and processes."""
