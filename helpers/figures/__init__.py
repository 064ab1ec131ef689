"""Charts drawn from saved results: no server, no clock."""
