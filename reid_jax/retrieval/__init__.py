"""Ranking galleries by descriptors, and scoring the ranking: distances, metrics, protocols and re-ranking."""
