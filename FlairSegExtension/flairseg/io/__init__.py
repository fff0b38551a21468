"""Files in and out: label maps of FlairSeg and of other programs."""
