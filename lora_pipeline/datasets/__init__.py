"""From approved assets to a hashed manifest and a folder that a trainer reads."""
