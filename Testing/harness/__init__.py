"""Slicer without its application, for tests and for the pictures in the docs. Never shipped.

MRML, the module logics, ``slicer.util`` and the slice views are Slicer's own (package ``slicer-core``). What lives in
the Slicer *application* and in no package is stood in for here, as little of it as the modules need:

``application``  scene, application logic, module logics, ``slicer.app``, ``slicer.modules``
``io_manager``   the application's reader and writer registry, so that ``slicer.util.loadVolume`` and the like work
``slicer_side``  Python files that Slicer ships and slicer-core does not: ``ScriptedLoadableModule``, ``i18n``
``slice_view``   one of Slicer's slice views, rendered off screen

Call :func:`Testing.harness.application.start` before importing a module of the extension.
"""
