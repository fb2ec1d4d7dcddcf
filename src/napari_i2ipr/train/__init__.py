"""From pictures to weights: candidate sets, stages, validation, calibration. The only learner here."""
