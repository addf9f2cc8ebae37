"""What an op is, the graph of ops, and the sweep that differentiates it."""
