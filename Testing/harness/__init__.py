"""Slicer without its application, for tests and for the pictures in the docs. Never shipped.

MRML, the module logics, ``slicer.util``, the segment editor's logic and the views' rendering are Slicer's own (package
``slicer-core``), Qt is PySide6. What lives in the Slicer *application* and in no package is stood in for here, as
little of it as the modules need.

Without Qt:

``application``     scene, application logic, module logics, ``slicer.app``, ``slicer.modules``
``io_manager``      the application's reader and writer registry, so that ``slicer.util.loadVolume`` and the like work
``slicer_side``     Python files that Slicer ships and slicer-core does not: ``ScriptedLoadableModule``, ``i18n``,
                    ``parameterNodeWrapper``, ``packaging``
``slice_view``      one of Slicer's slice views, rendered off screen
``small_case``      a head and a model that is right about it

With Qt:

``qt_application``  all of it: ``qt``, ``ctk``, ``slicer.qMRML*``, ``slicer.app`` with settings of its own
``pythonqt``        PySide6 with PythonQt's manners
``ctk_widgets``, ``mrml_widgets``, ``segment_editor``, ``layout``
                    widgets and views
``ui_loader``       .ui files with such widgets
``module_host``     what loads a scripted module and holds its panel
``module_side``     other scripted modules that ours import: ``SampleData``
``main_window``     a window like Slicer's, and its screenshots
``interaction``     clicks, keys, waiting, screenshots, how long the event loop was blocked
``xvfb``            a virtual X server for tests on the ``xcb`` platform

Call :func:`Testing.harness.application.start` or :func:`Testing.harness.qt_application.start` before importing a module
of the extension.
"""
