"""What a reviewer of a pull request needs."""
