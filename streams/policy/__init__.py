"""Pure decisions without state: what rules say, how an incident lives, whether a signature fits."""
