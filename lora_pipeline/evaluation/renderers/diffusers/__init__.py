"""diffusers, in a child process of ours."""
