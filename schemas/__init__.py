"""The words: frozen values and wire formats. No I/O, no clock, nothing of the rest of the project."""
