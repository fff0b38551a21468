"""What every report of the house is made of: the page and its style, tables, figures, and how numbers are said.

A report is one HTML file without script that opens anywhere; all foreign text in it is escaped. What a report says
stands in the package that writes it (:mod:`flairseg.study.analysis`, :mod:`flairseg.evaluation`).
"""
