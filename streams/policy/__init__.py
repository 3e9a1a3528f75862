"""Pure decisions without state: rules, the transitions of incidents, the order of events, and signatures."""
