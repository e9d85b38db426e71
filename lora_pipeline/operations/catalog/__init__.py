"""Projects, checkpoints, words, specs and assets."""
