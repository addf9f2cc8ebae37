"""The lesson on vanishing gradients: its rows, networks, derivations and remedies."""
