"""Other libraries at the same work. Each module imports what whoever measures installs: import them when asked for."""
