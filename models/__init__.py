"""What is learnt from data: torch modules, losses, simulators of latent systems. Tensors in, tensors out."""
