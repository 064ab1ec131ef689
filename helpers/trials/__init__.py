"""The migration tried: its speed, its kills, a cut-over."""
