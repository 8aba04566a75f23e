"""The Neural Latents Benchmark: submissions, scores, its velocity decoder."""
