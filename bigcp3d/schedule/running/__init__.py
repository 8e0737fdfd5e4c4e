"""Tasks, executors, locks, events: a plan is carried out."""
