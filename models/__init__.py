"""Model cards, weights and the code that trains them."""
