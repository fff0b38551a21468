# Stands in for files of Slicer that the extension includes; see install_tree.cmake.
