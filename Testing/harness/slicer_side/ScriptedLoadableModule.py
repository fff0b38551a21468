"""Stand-in for Slicer's ``slicer.ScriptedLoadableModule``: the attributes and methods our modules use, without Qt."""

import slicer
from slicer.util import VTKObservationMixin

__all__ = ["ScriptedLoadableModule", "ScriptedLoadableModuleLogic", "VTKObservationMixin"]


class ScriptedLoadableModule:
    """Metadata of a module; ``parent`` is the C++ module object that Slicer hands over."""

    def __init__(self, parent):
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = ""
        parent.categories = []
        parent.dependencies = []
        parent.contributors = []
        parent.helpText = ""
        parent.acknowledgementText = ""
        parent.hidden = False

    def getDefaultModuleDocumentationLink(self, docPage=None):
        return f'<p>For more information see the <a href="https://example.org/{self.moduleName}">documentation</a>.</p>'


class ScriptedLoadableModuleLogic:
    """Logic that runs on the application's scene."""

    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Logic")

    @property
    def mrmlScene(self):
        return slicer.mrmlScene
