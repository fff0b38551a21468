"""The worker process for Slicer: protocol, server, tasks."""
