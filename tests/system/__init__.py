"""Real command lines, real programs, real kills."""
