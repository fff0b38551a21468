"""The panel's sections, each of which knows its own widgets and nothing of the others."""
