"""What can be wrong with a machine, a repository and a workspace."""
