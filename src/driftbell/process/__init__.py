"""Parts of every long-running process: signals, background threads, a log stream that does not block."""
