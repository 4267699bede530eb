"""What every long-running process needs: signals, background threads, a log stream that does not block."""
