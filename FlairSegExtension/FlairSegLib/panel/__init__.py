"""The panel's sections, each of which uses its own widgets only."""
