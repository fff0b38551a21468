"""Integration of FlairSeg's method (package ``flairseg``) into 3D Slicer.

The only package that may import slicer, qt, ctk or vtk. It holds no image processing.
"""
