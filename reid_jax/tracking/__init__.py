"""Tracking: who is who over the frames of a video, and over a person's visits; files of MOTChallenge in and out."""
