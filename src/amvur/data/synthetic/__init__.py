"""Endless synthetic hands with exact labels: poses, skin, scenes, shards, the benchmark set."""
