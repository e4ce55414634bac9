"""The processes of one run, and how each begins, hears signals, prints and ends."""
