"""Makes a plan from the user's request."""
