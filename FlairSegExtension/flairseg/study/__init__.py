"""Blinded rating studies and reference sessions: protocol, order, blinding, answers, and what comes out as a table.

The coordinator locks a protocol (:mod:`.protocol`, :mod:`.locking`): every rater gets a *room*, a folder with neutral
copies of the images in the order of the schedule, and the key that tells which is which stays behind, sealed. In the
room a :class:`~flairseg.study.session.StudySession` shows one after the other and records every click. After the study
is closed the key is checked against the commitment that all records carry, and :func:`~flairseg.study.ratings.ratings`
gives the tidy table.

Pure Python; knows neither Slicer nor Qt. Research use only, not a medical device.
"""
