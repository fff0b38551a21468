"""Drawing: slices with the outlines of the classes, from arrays and geometry."""
