"""Lower precision: calibration, choice and rewriting."""
