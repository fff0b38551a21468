"""The version of the package: one line that the build reads as well."""

__version__ = "0.1.0"
