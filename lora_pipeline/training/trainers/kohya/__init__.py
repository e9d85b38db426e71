"""sd-scripts, kohya's training scripts."""
