"""Statistics that evaluation and reader studies share: intervals by resampling of cases, reliability and agreement."""
