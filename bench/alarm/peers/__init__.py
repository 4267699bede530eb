"""The peers at their defaults, one file a tool. `requirements.txt` installs them in one environment."""
