"""The embedded parts."""
