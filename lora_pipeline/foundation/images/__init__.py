"""Images: recognised, measured, brought to one form; decoded in a child process only."""
