"""The shared vocabulary: frozen values and wire formats. It does no I/O, reads no clock, imports no other package."""
