"""A run on one worker: its work directory, its log, what its tasks took."""
