"""Images and label maps read: files of FlairSeg and of other programs, and DICOM folders."""
