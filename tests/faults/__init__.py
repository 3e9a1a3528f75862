"""The short form of `make faults`."""
