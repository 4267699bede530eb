"""The peers' services, as small as each can be; they know nothing of driftbell, and run in other Pythons."""
