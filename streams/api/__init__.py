"""The management API and what it serves: a process of its own, `stormweir api`."""
