"""The command line: what a person types, and an agent in its shell. A client of the daemon and nothing else."""
