"""Shared parts of the reports: page and style, tables, figures, number formats.

A report is one HTML file without script that opens anywhere; all foreign text in it is escaped. What a report says
stands in the package that writes it (:mod:`flairseg.study.analysis`, :mod:`flairseg.evaluation`).
"""
