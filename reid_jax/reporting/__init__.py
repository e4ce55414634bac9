"""Many runs in one table: gathered from their workdirs, grouped, and set beside the paper's figures."""
