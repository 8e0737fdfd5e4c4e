"""Where a run runs: on this machine, on a scheduler that runs already, or on a cluster started for it."""
