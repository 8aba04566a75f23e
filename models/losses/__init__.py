"""What is scored: likelihoods, and weights that change with the step."""
