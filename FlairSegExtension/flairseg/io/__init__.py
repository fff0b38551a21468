"""Files in and out: label maps of FlairSeg and of other programs, names of cases, which input results belong to."""
