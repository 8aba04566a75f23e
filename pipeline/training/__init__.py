"""The training loop, the data feed and checkpoints."""
