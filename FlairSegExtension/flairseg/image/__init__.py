"""Voxel grids: where the voxels of an image are in space, and how two grids relate."""

from .geometry import GRID_TOLERANCE_VOXELS, Placement, VolumeGeometry

__all__ = ["GRID_TOLERANCE_VOXELS", "Placement", "VolumeGeometry"]
