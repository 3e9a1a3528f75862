"""The measured programs. Each runs in its own process: `python -m benchmarks.contenders.<name> ARGUMENTS`."""
