"""Assets: read, found, chosen, changed, decided on."""
