"""Measuring speed and memory on made data, beside other libraries where they are installed."""
