"""The report's figures, one module per theme. They draw what an evaluation found and compute nothing but shapes."""
