"""Measures of reconstructions: errors as the official evaluations take them, and of stated uncertainty."""
