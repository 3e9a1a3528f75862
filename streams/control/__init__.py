"""The control plane: what is configured, how it is followed, edited and written as a file."""
