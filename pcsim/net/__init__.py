"""What is trained: nets, their layers and activations, and their files."""
