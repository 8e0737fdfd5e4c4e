"""The name of the labels that a command takes, or writes, if the user names none."""

DEFAULT_NAME = "cells"
