"""Training recipes: data, networks, losses, training, export, evaluation (needs PyTorch; see CONTRIBUTING.md)."""
