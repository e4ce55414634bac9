"""Who belongs to whom: pairs of the least total cost, where staying alone has a cost too."""

import numpy as np
from scipy.optimize import linear_sum_assignment


def assign(cost: np.ndarray, alone: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pairs (row int64 [k], column int64 [k]) of the least total cost, in the order of rows.

    Each row takes one column or stays alone, which costs `alone`, and no column is taken twice: as if each row had a
    private column of that cost. So pairs cost less than `alone`, each of them. `cost` is [m, n]; a pair that may not be
    has a cost of infinity (or NaN).
    """
    # The private columns need not be drawn up: with `alone` taken off, a pair that pays is below 0, and any other is as
    # good as none.
    pays = cost < alone
    if not pays.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    row, column = linear_sum_assignment(np.where(pays, cost - alone, 0))
    paired = pays[row, column]
    return row[paired], column[paired]
