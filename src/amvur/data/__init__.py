"""Data for training and evaluation: samples in our conventions, synthetic hands."""
