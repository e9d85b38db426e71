"""Projects, checkpoints, controlled words, specs and assets: what there is to train on."""
