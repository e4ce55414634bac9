"""What only a run needs: its state, steps, losses, schedule and optimiser, its plan, checkpoints, log and folder."""
