"""Averaged weights: of the ends of cycles (SWA), sampled around them (SWAG), and their BatchNorm statistics."""
