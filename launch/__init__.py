"""Start, watch, stop: the command line, the head and the supervisor."""
