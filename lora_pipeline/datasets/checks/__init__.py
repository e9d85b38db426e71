"""What is wrong with the images of a dataset: measured once, judged by thresholds."""
