"""Where a run takes place: on this machine, on a running scheduler, or on a cluster that is started for it."""
