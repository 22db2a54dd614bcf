"""From configuration to a plan: trials, keys, jobs."""
