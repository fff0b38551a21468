"""Shared parts of the reports: page and style, tables, figures, number formats.

A report is one self-contained HTML file without scripts; all external text is escaped. Its content is defined by
the package that writes it (:mod:`flairseg.study.analysis`, :mod:`flairseg.evaluation`).
"""
