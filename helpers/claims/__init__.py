"""Sentences and tables computed from saved results: no server, no clock."""
