"""Archive of readers' decisions: versions of cases in a folder, and append-only events in a database.

- :mod:`.cases` keeps a FLAIR, its corrected labels and the verdict on them as a new version, whole or not at all;
- :mod:`.events` and :mod:`.chain`: what an event is, how events are chained, and what shows when one was tampered with;
- :mod:`.store` keeps events in SQLite or PostgreSQL (SQLAlchemy, imported when a store is opened);
- :mod:`.outbox` records events while the store is unreachable, and delivers them later, once;
- :mod:`.recorder` does both for a verdict: the one class that both Slicer modules call.

Pure Python; knows neither Slicer nor Qt. Importing it loads the standard library alone. Research use only, not a
medical device.
"""
