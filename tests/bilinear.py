"""Bilinear sampling by the four neighbours, independent of the networks' own."""

import numpy as np


def bilinear_samples(image, rows, columns):
    """Samples an image [h, w, c] at pixel positions: [rows, columns, c], zero outside."""
    height, width, _ = image.shape
    out = np.zeros((len(rows), len(columns), image.shape[2]))
    for a, row in enumerate(rows):
        for b, column in enumerate(columns):
            for i in (int(np.floor(row)), int(np.floor(row)) + 1):
                for j in (int(np.floor(column)), int(np.floor(column)) + 1):
                    if 0 <= i < height and 0 <= j < width:
                        out[a, b] += (1 - abs(row - i)) * (1 - abs(column - j)) * image[i, j]
    return out
