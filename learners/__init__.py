"""The process that learns: one agent's trajectories in, updates, commits, versions out."""
