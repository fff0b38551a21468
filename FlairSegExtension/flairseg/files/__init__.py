"""Files: atomic writing, names of cases and results, headers of images, tables, and which input results belong to."""
