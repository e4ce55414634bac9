"""Averages of weights: those at the ends of cycles (SWA), samples around them (SWAG), and their BatchNorm statistics."""
