"""What training is told about images: made, counted, checked, compared."""
