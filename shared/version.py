"""The version of the program, as `--version`, `/healthz` and the start line give it."""

VERSION = "0.1.0"
