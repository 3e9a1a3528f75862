"""The benchmarks. Their figures are ratios to simpler programs that run on the same machine and broker."""
