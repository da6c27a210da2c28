"""Ways to score the quality of architectures."""
