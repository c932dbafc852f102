"""The process that learns: collects one agent's trajectories, updates its networks, commits, publishes."""
