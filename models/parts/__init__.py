"""What models are built of: encoders, maps, dynamics, priors, conditioners."""
