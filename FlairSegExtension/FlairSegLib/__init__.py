"""What joins FlairSeg's method (package ``flairseg``) to 3D Slicer.

The only package that may import slicer, qt, ctk or vtk. It holds no image processing.
"""
