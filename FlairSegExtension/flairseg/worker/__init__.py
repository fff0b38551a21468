"""The worker process that computes for Slicer: protocol, server, and what it is asked to do."""
