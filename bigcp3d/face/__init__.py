"""What a user meets: the command line, its progress, the demo and its picture. May import everything."""
