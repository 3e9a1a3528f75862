"""What Stormweir is measured by: ratios to simpler programs that run beside it on the same machine and broker."""
