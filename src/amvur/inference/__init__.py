"""From detections to hands: evidence, fit, posterior, calibration, texture."""
