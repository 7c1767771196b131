"""What a run needs on hardware that is not here: its very programs, compiled ahead of time."""
